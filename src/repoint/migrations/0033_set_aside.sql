-- How many of a stream's events were too large for its far end, and went to a file instead.
ALTER TABLE event_stream ADD COLUMN set_aside bigint NOT NULL DEFAULT 0;
