-- What clients reported, by column: a row for what was counted at a time of one type of event, the nth element of each
-- array is the nth event. Conversions and funnels read this instead of the log, whose rows they would find on as many
-- pages. `moments` are the events' own, but never later than they arrived; user_ids has '' for an endpoint without one.
CREATE TABLE metric_reported (
    app_id       text NOT NULL,
    event_type   text NOT NULL,
    first_at     timestamptz NOT NULL,       -- the earliest and the latest arrival
    last_at      timestamptz NOT NULL,
    event_ids    bigint[] NOT NULL,
    arrivals     timestamptz[] NOT NULL,
    moments      timestamptz[] NOT NULL,
    endpoint_ids text[] NOT NULL,
    user_ids     text[] NOT NULL,
    attributes   jsonb[] NOT NULL,
    metrics      jsonb[] NOT NULL
);
CREATE INDEX metric_reported_by_type ON metric_reported (app_id, event_type, last_at);
CREATE INDEX metric_reported_by_age ON metric_reported (last_at);
-- Written once, read often: squeezing them would cost the reader of the log more than all else it does with them.
ALTER TABLE metric_reported
    ALTER COLUMN event_ids SET STORAGE EXTERNAL, ALTER COLUMN arrivals SET STORAGE EXTERNAL,
    ALTER COLUMN moments SET STORAGE EXTERNAL, ALTER COLUMN endpoint_ids SET STORAGE EXTERNAL,
    ALTER COLUMN user_ids SET STORAGE EXTERNAL, ALTER COLUMN attributes SET STORAGE EXTERNAL,
    ALTER COLUMN metrics SET STORAGE EXTERNAL;

-- Whom campaigns reached; most of these rows stand for many messages.
CREATE INDEX event_by_campaign_send ON event (app_id, arrival_at)
    WHERE event_type = '_campaign.send' AND NOT document ? 'application'
      AND document #>> '{attributes,campaign_send_status}' = 'SUCCESS';
