-- How often an import names a user: who it names again is told when the segment is used.
ALTER TABLE segment_user ADD COLUMN times int NOT NULL DEFAULT 1;
CREATE INDEX segment_user_repeated ON segment_user (app_id, segment_id, version) WHERE times > 1;
