-- Email at speed: slices, room in the ledger, keys that sign.

-- Slices are the outbox of activities with many recipients: one row stands for a range of the ledger's rows.
CREATE TABLE outbox_slice (
    slice_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id            text NOT NULL,
    activity_id       text NOT NULL,
    first_endpoint_id text NOT NULL,
    last_endpoint_id  text NOT NULL,         -- inclusive, in the order of the ledger's primary key
    messages          int NOT NULL,          -- how many the range held when it was cut
    attempts          smallint NOT NULL DEFAULT 0,
    due_at            timestamptz NOT NULL,  -- not before; a lease moves it to the lease's end
    expires_at        timestamptz NOT NULL   -- given up on after
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_slice_by_due ON outbox_slice (due_at);

-- Every row of the ledger is updated once, soon after it was inserted: with room for the second version on the same
-- page, no index has to be written again. Age needs no more than a summary of each block.
ALTER TABLE message SET (fillfactor = 50);
DROP INDEX message_by_age;
CREATE INDEX message_by_age ON message USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);

-- DKIM keys: a domain may have several selectors, and each signs.
CREATE TABLE dkim_key (
    domain      text NOT NULL,               -- in ASCII, in lower case
    selector    text NOT NULL,
    algorithm   text NOT NULL CHECK (algorithm IN ('rsa', 'ed25519')),
    private_key bytea NOT NULL,              -- sealed PEM (PKCS #8)
    dns_record  text NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (domain, selector)
);
