-- Dimensions, mitigation actions and the tasks that apply them to violations.

-- What a mitigation task depends on is held by this row until a transaction ends.
INSERT INTO counter (name, value) VALUES ('mitigation', 0);

-- A request that comes again with its token is the same request. NULL where there was no token yet.
ALTER TABLE custom_metric ADD COLUMN request_token TEXT;
ALTER TABLE custom_metric ADD COLUMN request TEXT;
CREATE UNIQUE INDEX custom_metric_by_request ON custom_metric (request_token);

CREATE TABLE dimension (
    name TEXT NOT NULL PRIMARY KEY,
    string_values TEXT NOT NULL, -- JSON of a list of topic filters
    request_token TEXT NOT NULL,
    request TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX dimension_by_request ON dimension (request_token);

CREATE TABLE mitigation_action (
    name TEXT NOT NULL PRIMARY KEY,
    action_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    role_arn TEXT NOT NULL,
    params TEXT NOT NULL, -- AWS's JSON
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);

-- A task goes through violations in the order of their ids; `position` is the last one that it is done with.
CREATE TABLE detect_task (
    task_id TEXT NOT NULL PRIMARY KEY,
    request_token TEXT NOT NULL,
    request TEXT NOT NULL,
    violations TEXT, -- JSON of a list of ids; NULL for a task about a profile
    profile TEXT,
    behavior TEXT,
    range_from BIGINT,
    range_to BIGINT,
    only_active BOOLEAN NOT NULL,
    with_suppressed BOOLEAN NOT NULL,
    actions TEXT NOT NULL, -- JSON: the actions as they were
    status TEXT NOT NULL,
    position TEXT NOT NULL,
    n_executed BIGINT NOT NULL,
    n_skipped BIGINT NOT NULL,
    n_failed BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE UNIQUE INDEX detect_task_by_request ON detect_task (request_token);
CREATE INDEX detect_task_by_age ON detect_task (started_at, task_id);
CREATE INDEX detect_task_running ON detect_task (started_at) WHERE ended_at IS NULL;

-- One action of a task on one violation: a row once it was done, failed or was skipped, for ever.
CREATE TABLE detect_execution (
    task_id TEXT NOT NULL REFERENCES detect_task (task_id) ON DELETE CASCADE,
    violation_id TEXT NOT NULL,
    nth BIGINT NOT NULL, -- which of the task's actions
    action TEXT NOT NULL,
    thing TEXT NOT NULL,
    at BIGINT NOT NULL,
    status TEXT NOT NULL,
    error_code TEXT,
    message TEXT,
    PRIMARY KEY (task_id, violation_id, nth)
);
CREATE INDEX detect_execution_by_age ON detect_execution (at, task_id, violation_id, nth);
CREATE INDEX detect_execution_of_violation ON detect_execution (violation_id, at);
CREATE INDEX detect_execution_of_thing ON detect_execution (thing, at);
