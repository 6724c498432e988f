-- Versions of policies, CA certificates and what they vouch for.

ALTER TABLE policy ADD COLUMN last_version BIGINT NOT NULL DEFAULT 1; -- the highest number that a version has had

ALTER TABLE certificate ADD COLUMN ca TEXT; -- the CA it was registered with; stays when the CA is removed
CREATE INDEX certificate_by_ca ON certificate (ca, created_at, id);

CREATE TABLE ca_certificate (
    id TEXT NOT NULL PRIMARY KEY,
    pem TEXT NOT NULL,
    subject_digest TEXT NOT NULL, -- SHA-256 of the subject's DER
    is_active BOOLEAN NOT NULL,
    is_auto_registering BOOLEAN NOT NULL,
    registration_config TEXT, -- JSON as it was given
    template_name TEXT, -- the same as in registration_config, for filters
    mode TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    version BIGINT NOT NULL,
    generation_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    modified_at BIGINT NOT NULL
);
CREATE INDEX ca_certificate_by_age ON ca_certificate (created_at, id);
CREATE INDEX ca_certificate_by_subject ON ca_certificate (subject_digest);

-- One row at most.
CREATE TABLE registration_code (
    id BIGINT NOT NULL PRIMARY KEY,
    code TEXT NOT NULL
);
