-- Which endpoints, for what counts distinct ones: sets of numbers, as bits. An endpoint gets its number when it is first
-- counted; those of one campaign are near each other, so that a row here has many of them.
DROP TABLE metric_endpoint;
CREATE TABLE metric_member (
    app_id      text NOT NULL,
    endpoint_id text NOT NULL,
    number      bigint GENERATED ALWAYS AS IDENTITY,
    seen_on     date NOT NULL,               -- counted at least once in the thirty days from here on
    PRIMARY KEY (app_id, endpoint_id)
);
CREATE INDEX metric_member_by_age ON metric_member (seen_on);

-- What a set is of.
CREATE TABLE metric_scope (
    scope_id             int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id               text NOT NULL,
    measure              text NOT NULL,
    campaign_id          text NOT NULL,
    campaign_activity_id text NOT NULL,
    UNIQUE (app_id, measure, campaign_id, campaign_activity_id)
);

-- Bit n of chunk c is the endpoint of number 512 c + n.
CREATE TABLE metric_set (
    scope_id int NOT NULL,
    hour     timestamptz NOT NULL,
    chunk    int NOT NULL,
    members  bit(512) NOT NULL,
    PRIMARY KEY (scope_id, hour, chunk)
) WITH (fillfactor = 85);

-- The log is counted from its beginning again, so that what was reported before (0023) is there too.
TRUNCATE metric_hour, metric_once, metric_active;
DELETE FROM event_reader WHERE reader_name = 'metrics';
