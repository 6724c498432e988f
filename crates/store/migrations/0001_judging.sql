-- What judging reads and writes, and what is done about it.
-- One text for SQLite and PostgreSQL. Times are milliseconds since the epoch; JSON is text that SQL never opens.

-- Numbers that only grow. A transaction that takes one holds the row until it ends, so numbers become visible in order.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('outbox', 0), ('judging', 0), ('decision', 0);

-- What a transaction tells the rest of the server, in the order of commits, without gaps.
CREATE TABLE outbox (
    seq BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
);

-- How far each reader of the outbox has come. Rows at or below the lowest are trimmed, so the two that always read have
-- a row from the beginning.
CREATE TABLE outbox_consumer (
    name TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);
INSERT INTO outbox_consumer (name, seq) VALUES ('pipeline', 0), ('mitigate', 0);

-- The whole of what judging depends on, one row a revision.
CREATE TABLE judging_config (
    revision BIGINT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

-- Who owns a partition of the report log, and how far its effects are written.
CREATE TABLE partition_position (
    partition_id BIGINT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    applied_seq BIGINT NOT NULL,
    snapshot_seq BIGINT NOT NULL
);

CREATE TABLE violation (
    violation_id TEXT NOT NULL PRIMARY KEY,
    thing TEXT NOT NULL,
    profile TEXT NOT NULL,
    behavior TEXT NOT NULL,
    criteria_kind TEXT NOT NULL,
    is_suppressed BOOLEAN NOT NULL,
    is_supported BOOLEAN NOT NULL,
    started_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    last_value TEXT NOT NULL,
    -- NULL while in alarm.
    ended_at BIGINT,
    -- Two columns that engines never write.
    verification TEXT NOT NULL DEFAULT 'UNKNOWN',
    verification_description TEXT
);
CREATE INDEX violation_active ON violation (started_at, violation_id) WHERE ended_at IS NULL;
CREATE INDEX violation_active_of_thing ON violation (thing, started_at, violation_id) WHERE ended_at IS NULL;
CREATE INDEX violation_ended ON violation (ended_at) WHERE ended_at IS NOT NULL;

-- A violation begins once and ends at most once.
CREATE TABLE violation_event (
    violation_id TEXT NOT NULL,
    event TEXT NOT NULL,
    at BIGINT NOT NULL,
    thing TEXT NOT NULL,
    profile TEXT NOT NULL,
    behavior TEXT NOT NULL,
    criteria_kind TEXT NOT NULL,
    is_suppressed BOOLEAN NOT NULL,
    value TEXT,
    PRIMARY KEY (violation_id, event)
);
CREATE INDEX violation_event_at ON violation_event (at, violation_id, event);
CREATE INDEX violation_event_of_thing ON violation_event (thing, at, violation_id, event);

CREATE TABLE custom_metric (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    display_name TEXT,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);

-- `behaviors` is AWS's list of them; `extras` is a JSON object of what judging does not read.
CREATE TABLE security_profile (
    name TEXT NOT NULL PRIMARY KEY,
    description TEXT,
    behaviors TEXT NOT NULL,
    extras TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);

-- `target` is `all/things`, `all/registered-things`, `all/unregistered-things` or `thinggroup/<name>`.
CREATE TABLE profile_target (
    profile TEXT NOT NULL REFERENCES security_profile (name) ON DELETE CASCADE,
    target TEXT NOT NULL,
    attached_at BIGINT NOT NULL,
    PRIMARY KEY (profile, target)
);
CREATE INDEX profile_target_by_target ON profile_target (target, profile);

-- What is to be done about violations. Empty lists mean all.
CREATE TABLE response (
    name TEXT NOT NULL PRIMARY KEY,
    profiles TEXT NOT NULL,
    behaviors TEXT NOT NULL,
    quarantine_group TEXT,
    webhook_url TEXT,
    is_enabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);

-- A device is quarantined while it has a decision that was not released. A violation and a response meet once, for ever.
CREATE TABLE decision (
    decision_id BIGINT NOT NULL PRIMARY KEY,
    thing TEXT NOT NULL,
    violation_id TEXT,
    response TEXT,
    -- The group that is to mirror the decision, whether the thing is there because of it, and if not, why.
    mirror_group TEXT,
    is_mirrored BOOLEAN NOT NULL,
    mirror_failure TEXT,
    decided_at BIGINT NOT NULL,
    decided_by TEXT NOT NULL,
    released_at BIGINT,
    released_by TEXT
);
CREATE UNIQUE INDEX decision_once ON decision (violation_id, response);
CREATE INDEX decision_in_force ON decision (thing) WHERE released_at IS NULL;
