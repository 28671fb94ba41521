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
