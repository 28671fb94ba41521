-- How often an import names a user: who it names again is told when the segment is used.
ALTER TABLE segment_user ADD COLUMN times int NOT NULL DEFAULT 1;
CREATE INDEX segment_user_repeated ON segment_user (app_id, segment_id, version) WHERE times > 1;

-- UNKNOWN: on the wire when its worker died, and past its deadline before anybody could try again. Rows that are there
-- already are not read again for this.
ALTER TABLE message DROP CONSTRAINT message_state_check;
ALTER TABLE message ADD CONSTRAINT message_state_check
    CHECK (state IN ('ACCEPTED', 'SENT', 'STOPPED', 'FAILED', 'UNKNOWN')) NOT VALID;
