-- Activities take turns at being sent: a claim reads the index from one activity to the next.
CREATE INDEX outbox_slice_by_turn ON outbox_slice (activity_id, due_at) WHERE NOT is_called;
