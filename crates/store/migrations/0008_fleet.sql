-- What the devices of each partition of the report log measured in a window that is judged by the fleet's percentile:
-- kept until every partition has handed in its own and the percentile is in the log.
CREATE TABLE fleet_sample (
    profile TEXT NOT NULL,
    behavior TEXT NOT NULL,
    -- 64 bits, as a signed number.
    fingerprint BIGINT NOT NULL,
    window_end BIGINT NOT NULL,
    partition_id BIGINT NOT NULL,
    statistic TEXT NOT NULL,
    -- The values, packed; SQL never opens it.
    body BYTEA NOT NULL,
    PRIMARY KEY (profile, behavior, fingerprint, window_end, partition_id)
);
