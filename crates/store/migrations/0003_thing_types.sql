-- Thing types, tags, and the settings of the account.

CREATE TABLE thing_type (
    name TEXT NOT NULL PRIMARY KEY,
    description TEXT,
    searchable_attributes TEXT NOT NULL, -- JSON, a list of texts
    mqtt5_configuration TEXT, -- JSON, as it was given
    created_at BIGINT NOT NULL,
    deprecated_at BIGINT
);

-- Until now a thing's type was only a word.
INSERT INTO thing_type (name, searchable_attributes, created_at)
    SELECT type_name, '[]', MIN(created_at) FROM thing WHERE type_name IS NOT NULL GROUP BY type_name;

CREATE TABLE tag (
    resource TEXT NOT NULL, -- as at the end of its ARN: thinggroup/<name>
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (resource, name)
);

CREATE TABLE event_configuration (
    event_type TEXT NOT NULL PRIMARY KEY,
    is_enabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);

CREATE TABLE account_setting (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL -- JSON, as it was given
);
