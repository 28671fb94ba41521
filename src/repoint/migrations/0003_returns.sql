-- What comes back: links and pixels, unsubscribing, bounces and complaints, and the addresses they suppress.

-- How an application's mail is tracked; an application without a row has the defaults.
CREATE TABLE tracking (
    app_id      text PRIMARY KEY REFERENCES app ON DELETE CASCADE,
    settings    jsonb NOT NULL,
    modified_at timestamptz NOT NULL
);

-- What an email had of its own, its subject and its Context, when that differs from what its activity says: later
-- events repeat it.
ALTER TABLE message ADD COLUMN mail jsonb;

-- Reports that have been counted, so that one delivered twice counts once. report_id is empty for what can happen to a
-- message only once.
CREATE TABLE receipt (
    message_id  text NOT NULL,
    event_type  text NOT NULL,
    report_id   text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, event_type, report_id)
);
CREATE INDEX receipt_by_age ON receipt (received_at);

-- Addresses that are not sent to. The address is normalised, so that one mailbox has one row.
CREATE TABLE suppression (
    region       text NOT NULL,
    channel_type text NOT NULL,
    address      text NOT NULL,
    reason       text NOT NULL CHECK (reason IN ('BOUNCE', 'COMPLAINT', 'UNSUBSCRIBE', 'MANUAL')),
    created_at   timestamptz NOT NULL,
    modified_at  timestamptz NOT NULL,
    app_id       text NOT NULL DEFAULT '',
    message_id   text NOT NULL DEFAULT '',
    facts        jsonb NOT NULL DEFAULT '{}',   -- the report that put it here
    PRIMARY KEY (region, channel_type, address)
);
CREATE INDEX suppression_by_age ON suppression (modified_at);
