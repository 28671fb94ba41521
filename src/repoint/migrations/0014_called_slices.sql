-- Messages that a function or webhook delivers have slices of their own, one for each call: who waits for a far end is
-- not in the way of who writes to a wire.
ALTER TABLE outbox_slice ADD COLUMN is_called boolean NOT NULL DEFAULT false;
DROP INDEX outbox_slice_by_due;
CREATE INDEX outbox_slice_by_due ON outbox_slice (due_at) WHERE NOT is_called;
CREATE INDEX outbox_slice_called ON outbox_slice (activity_id, due_at) WHERE is_called;
