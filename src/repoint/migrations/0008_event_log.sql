-- How far each reader of the event log has come. A reader is done with all that `done` sees; while it works through
-- what `target` sees besides, (xid, event_id) is the last event it has taken.
CREATE TABLE event_reader (
    reader_name text PRIMARY KEY,
    done        pg_snapshot NOT NULL,
    target      pg_snapshot,
    xid         xid8 NOT NULL DEFAULT '0',
    event_id    bigint NOT NULL DEFAULT 0
);

-- Readers of one application's events, such as its stream.
CREATE INDEX event_by_app_position ON event (app_id, xid, event_id);

-- The names an app's events have taken: custom types, attributes and metrics, each kind within its quota.
CREATE TABLE event_name (
    app_id text NOT NULL REFERENCES app ON DELETE CASCADE,
    kind   text NOT NULL CHECK (kind IN ('type', 'attribute', 'metric')),
    name   text NOT NULL,
    PRIMARY KEY (app_id, kind, name)
);

-- Where an application's events are forwarded to; its reader is 'stream/' and the application's id.
CREATE TABLE event_stream (
    app_id          text PRIMARY KEY REFERENCES app ON DELETE CASCADE,
    destination_arn text NOT NULL,
    role_arn        text NOT NULL,
    modified_at     timestamptz NOT NULL,
    modified_by     text NOT NULL,
    forwarded       bigint NOT NULL DEFAULT 0,   -- events that have arrived
    forwarded_at    timestamptz,                 -- when the last of them did
    failures        int NOT NULL DEFAULT 0,      -- in a row, of the batch that is being tried
    last_error      text NOT NULL DEFAULT ''
);

-- What stands behind an ARN: a target, sealed because it may carry a password, and its secret.
CREATE TABLE binding (
    arn         text PRIMARY KEY,
    kind        text NOT NULL,
    sealed      bytea NOT NULL,
    modified_at timestamptz NOT NULL
);

-- Metrics, kept by a reader of the log. All of it can be rebuilt from the log.
-- What happened in an hour. Absent dimensions are ''.
CREATE TABLE metric_hour (
    app_id               text NOT NULL,
    hour                 timestamptz NOT NULL,
    measure              text NOT NULL,
    campaign_id          text NOT NULL,
    campaign_activity_id text NOT NULL,
    journey_id           text NOT NULL,
    journey_activity_id  text NOT NULL,
    country              text NOT NULL,
    status               text NOT NULL,
    count                bigint NOT NULL,
    parts                bigint NOT NULL,
    millicents           double precision NOT NULL,
    PRIMARY KEY (app_id, measure, hour, campaign_id, campaign_activity_id, journey_id, journey_activity_id, country, status)
) WITH (fillfactor = 85);

-- What counts once: a message's opens and clicks in an hour, an SMS ever (its hour is the epoch).
CREATE TABLE metric_once (
    app_id     text NOT NULL,
    measure    text NOT NULL,
    message_id text NOT NULL,
    hour       timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (app_id, measure, message_id, hour)
);
CREATE INDEX metric_once_by_age ON metric_once (seen_at);

-- Which endpoints, for what counts distinct ones.
CREATE TABLE metric_endpoint (
    app_id               text NOT NULL,
    measure              text NOT NULL,
    hour                 timestamptz NOT NULL,
    campaign_id          text NOT NULL,
    campaign_activity_id text NOT NULL,
    endpoint_id          text NOT NULL,
    PRIMARY KEY (app_id, measure, hour, campaign_id, campaign_activity_id, endpoint_id)
);
