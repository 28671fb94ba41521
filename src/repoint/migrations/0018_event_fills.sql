-- What is said of many messages alike is one row of the log: `document` has places (%1$s, %2$s …; a percent sign is
-- doubled), and each line of `fills` has what one event puts there, as it stands inside JSON strings, tabs between.
-- The first place is the endpoint's id. Everything else in the row is the same for all of its events.
ALTER TABLE event
    ADD COLUMN stands_for int NOT NULL DEFAULT 1,
    ADD COLUMN fills text;
-- Its bytes go in once and out once or twice: squeezing them costs a writer more than the disk they save.
ALTER TABLE event ALTER COLUMN fills SET STORAGE EXTERNAL;

-- The log an event a row, for whoever asks in SQL.
CREATE VIEW logged_event AS
SELECT arrival_at, event_id, 0 AS place, xid, app_id, endpoint_id, event_type, event_at, document
FROM event WHERE fills IS NULL
UNION ALL
SELECT e.arrival_at, e.event_id, place::int, e.xid, e.app_id, ('"' || part[1] || '"')::jsonb #>> '{}', e.event_type,
       e.event_at, format(e.document::text, VARIADIC part)::jsonb
FROM event e,
     string_to_table(e.fills, E'\n') WITH ORDINALITY AS line (text, place),
     string_to_array(line.text, E'\t') AS part
WHERE e.fills IS NOT NULL;
