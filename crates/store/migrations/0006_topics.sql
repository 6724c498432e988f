-- Topics that alerts go to, who is subscribed to them, and what is still to be delivered.

INSERT INTO counter (name, value) VALUES ('message', 0);

-- The reader of the outbox that publishes alerts. It begins with what happens from now on.
INSERT INTO outbox_consumer (name, seq) SELECT 'publish', value FROM counter WHERE name = 'outbox';

CREATE TABLE topic (
    name TEXT NOT NULL PRIMARY KEY,
    attributes TEXT NOT NULL, -- JSON of text to text
    created_at BIGINT NOT NULL
);

-- A topic and an endpoint meet once.
CREATE TABLE subscription (
    subscription_id TEXT NOT NULL PRIMARY KEY,
    topic TEXT NOT NULL REFERENCES topic (name),
    protocol TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    is_raw BOOLEAN NOT NULL,
    -- Whether only a signed request ends it.
    is_guarded BOOLEAN NOT NULL,
    token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- NULL while nobody at the endpoint has said yes.
    confirmed_at BIGINT
);
CREATE UNIQUE INDEX subscription_once ON subscription (topic, protocol, endpoint);

-- What was said to a topic, as long as somebody has still to be told.
CREATE TABLE message (
    seq BIGINT NOT NULL PRIMARY KEY,
    message_id TEXT NOT NULL,
    topic_arn TEXT NOT NULL,
    -- A question whether a subscription is wanted, else a notification.
    is_question BOOLEAN NOT NULL,
    subject TEXT,
    body TEXT NOT NULL,
    -- Whether the body is a JSON object with one text a protocol.
    is_structured BOOLEAN NOT NULL,
    attributes TEXT, -- JSON that SQL never opens
    published_at BIGINT NOT NULL
);

-- Who has still to be told what, each in the order of the messages.
CREATE TABLE delivery (
    subscription_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    n_attempts BIGINT NOT NULL,
    PRIMARY KEY (subscription_id, seq)
);
CREATE INDEX delivery_by_message ON delivery (seq);
