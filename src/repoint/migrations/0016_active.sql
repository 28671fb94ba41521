-- Who reported events on which day, in UTC; user_id is '' for an endpoint without a user. Distributable by endpoint_id.
CREATE TABLE metric_active (
    app_id      text NOT NULL,
    day         date NOT NULL,
    endpoint_id text NOT NULL,
    user_id     text NOT NULL,
    PRIMARY KEY (app_id, day, endpoint_id, user_id)
);

-- The log is counted from its beginning again, so that the days before this table are in it too.
TRUNCATE metric_hour, metric_once, metric_endpoint;
DELETE FROM event_reader WHERE reader_name = 'metrics';
