-- The campaign a copy of which starts on the segment an import made: what watched files ask for.
ALTER TABLE job ADD COLUMN campaign_id text;
