-- The registry: things, groups, certificates, policies, access keys.

CREATE TABLE thing (
    name TEXT NOT NULL PRIMARY KEY,
    thing_id TEXT NOT NULL,
    type_name TEXT,
    attributes TEXT NOT NULL, -- JSON of text to text; thing_attribute has the same for filters
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX thing_by_type ON thing (type_name, name);

CREATE TABLE thing_attribute (
    thing TEXT NOT NULL REFERENCES thing (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (thing, name)
);
CREATE INDEX thing_attribute_by_value ON thing_attribute (name, value, thing);

CREATE TABLE certificate (
    id TEXT NOT NULL PRIMARY KEY,
    pem TEXT NOT NULL,
    status TEXT NOT NULL,
    mode TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    version BIGINT NOT NULL,
    generation_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);
CREATE INDEX certificate_by_age ON certificate (created_at, id);

CREATE TABLE thing_principal (
    thing TEXT NOT NULL REFERENCES thing (name),
    certificate TEXT NOT NULL REFERENCES certificate (id),
    is_exclusive BOOLEAN NOT NULL,
    PRIMARY KEY (thing, certificate)
);
CREATE INDEX thing_principal_by_certificate ON thing_principal (certificate, thing);

CREATE TABLE thing_group (
    name TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL,
    parent TEXT REFERENCES thing_group (name),
    root TEXT NOT NULL, -- its own name when it has no parent
    depth BIGINT NOT NULL, -- 1 for a root
    description TEXT,
    attributes TEXT NOT NULL, -- JSON of text to text
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX thing_group_by_parent ON thing_group (parent, name);

-- A thing is in one group at most of each tree.
CREATE TABLE membership (
    thing TEXT NOT NULL REFERENCES thing (name) ON DELETE CASCADE,
    root TEXT NOT NULL,
    group_name TEXT NOT NULL REFERENCES thing_group (name),
    PRIMARY KEY (thing, root)
);
CREATE INDEX membership_by_group ON membership (group_name, thing);

CREATE TABLE policy (
    name TEXT NOT NULL PRIMARY KEY,
    default_version BIGINT NOT NULL,
    generation_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);

CREATE TABLE policy_version (
    policy TEXT NOT NULL REFERENCES policy (name) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (policy, version)
);

CREATE TABLE certificate_policy (
    certificate TEXT NOT NULL REFERENCES certificate (id) ON DELETE CASCADE,
    policy TEXT NOT NULL REFERENCES policy (name),
    PRIMARY KEY (certificate, policy)
);
CREATE INDEX certificate_policy_by_policy ON certificate_policy (policy, certificate);

CREATE TABLE group_policy (
    group_name TEXT NOT NULL REFERENCES thing_group (name) ON DELETE CASCADE,
    policy TEXT NOT NULL REFERENCES policy (name),
    PRIMARY KEY (group_name, policy)
);
CREATE INDEX group_policy_by_policy ON group_policy (policy, group_name);

-- Keys of the API's callers. The secret is sealed: useless without the key file beside the database.
CREATE TABLE access_key (
    id TEXT NOT NULL PRIMARY KEY,
    sealed_secret BYTEA NOT NULL,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT
);
