-- How many devices are in alarm by the same behavior: the behavior itself is a body that no statement opens.
ALTER TABLE violation ADD COLUMN behavior_name TEXT NOT NULL DEFAULT '';
CREATE INDEX violation_of_behavior ON violation (profile, behavior_name, ended_at);
