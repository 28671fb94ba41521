-- Whose an event is: of a row of the log that stands for many (0018), what the event's line of `fills` begins with, as it
-- stands inside a JSON string; of any other row, which has no lines, what the row says. Written so that it is inlined.
CREATE FUNCTION event_endpoint(endpoint_id text, line text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN line IS NULL THEN endpoint_id
                WHEN strpos(line, E'\\') = 0 THEN split_part(line, E'\t', 1)
                ELSE ('"' || split_part(line, E'\t', 1) || '"')::jsonb #>> '{}' END
$$;

CREATE OR REPLACE VIEW logged_event AS
SELECT arrival_at, event_id, 0 AS place, xid, app_id, endpoint_id, event_type, event_at, document
FROM event WHERE fills IS NULL
UNION ALL
SELECT e.arrival_at, e.event_id, place::int, e.xid, e.app_id, event_endpoint(e.endpoint_id, line.text), e.event_type,
       e.event_at, format(e.document::text, VARIADIC string_to_array(line.text, E'\t'))::jsonb
FROM event e, string_to_table(e.fills, E'\n') WITH ORDINALITY AS line (text, place)
WHERE e.fills IS NOT NULL;
