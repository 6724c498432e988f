-- What judging depends on, part by part: each row holds a part as it was from one revision on (included) to another (not
-- included), which is the greatest number for what is in force. So a revision costs what its change costs.
--
-- A part is a profile (its behaviors and extras as written), a target of a profile ("<profile> <target>"), a custom metric (its
-- type), a dimension (its topic filters) or a setting.
CREATE TABLE judging_part (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    body TEXT NOT NULL,
    extras TEXT NOT NULL,
    PRIMARY KEY (kind, name, since)
);
CREATE INDEX judging_part_since ON judging_part (since);
CREATE INDEX judging_part_until ON judging_part (until);

-- What there is now, so that the next change ends what it takes the place of.
INSERT INTO judging_part (kind, name, since, until, body, extras)
SELECT 'profile', p.name, c.value, 9223372036854775807, p.behaviors, p.extras
FROM security_profile p CROSS JOIN counter c WHERE c.name = 'judging';

INSERT INTO judging_part (kind, name, since, until, body, extras)
SELECT 'target', t.profile || ' ' || t.target, c.value, 9223372036854775807, '', ''
FROM profile_target t CROSS JOIN counter c WHERE c.name = 'judging';

INSERT INTO judging_part (kind, name, since, until, body, extras)
SELECT 'metric', m.name, c.value, 9223372036854775807, m.kind, ''
FROM custom_metric m CROSS JOIN counter c WHERE c.name = 'judging';

INSERT INTO judging_part (kind, name, since, until, body, extras)
SELECT 'dimension', d.name, c.value, 9223372036854775807, d.string_values, ''
FROM dimension d CROSS JOIN counter c WHERE c.name = 'judging';

INSERT INTO judging_part (kind, name, since, until, body, extras)
SELECT 'setting', s.name, c.value, 9223372036854775807, s.body, ''
FROM account_setting s CROSS JOIN counter c WHERE c.name = 'judging' AND s.name = 'strict-aws-timing';

-- The first revision that the parts tell. Those before stay in judging_config, whole, until they are given up.
INSERT INTO counter (name, value) SELECT 'judging_part', value + 1 FROM counter WHERE name = 'judging';
