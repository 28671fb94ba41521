-- The foundation: settings and their counter, endpoints, messages and the outbox, the event log, the inbox.

-- Raised by every change of a setting, in that change's own transaction; what processes cache is valid while it stands.
CREATE TABLE config_generation (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    generation bigint NOT NULL
);
INSERT INTO config_generation (generation) VALUES (1);

CREATE TABLE access_key (
    access_key_id text PRIMARY KEY,
    name          text NOT NULL,
    secret        bytea NOT NULL,            -- sealed
    policy        jsonb NOT NULL,            -- an IAM policy document
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz,
    last_used_at  timestamptz
);

CREATE TABLE app (
    app_id               text PRIMARY KEY,
    region               text NOT NULL,
    name                 text NOT NULL,
    created_at           timestamptz NOT NULL,
    settings             jsonb NOT NULL DEFAULT '{}',
    settings_modified_at timestamptz NOT NULL
);
CREATE INDEX app_by_region ON app (region, app_id);

CREATE TABLE tag (
    arn  text PRIMARY KEY,
    tags jsonb NOT NULL
);

CREATE TABLE channel (
    app_id       text NOT NULL REFERENCES app ON DELETE CASCADE,
    channel_type text NOT NULL,
    is_enabled   boolean NOT NULL,
    settings     jsonb NOT NULL,             -- what may be shown
    credentials  bytea,                      -- sealed JSON of what may not
    version      int NOT NULL,
    created_at   timestamptz NOT NULL,
    modified_at  timestamptz NOT NULL,
    modified_by  text NOT NULL,
    PRIMARY KEY (app_id, channel_type)
);

-- One row has all that targeting and rendering need. endpoint_id is the id case-folded (ids are case-insensitive);
-- given_id is its first spelling. user_attributes are the user's, the same for all endpoints of a user.
CREATE TABLE endpoint (
    app_id          text NOT NULL,
    endpoint_id     text NOT NULL,
    given_id        text NOT NULL,
    revision        bigint NOT NULL,         -- raised by every write; a merge lost to a concurrent one is tried again
    channel_type    text,
    address         text,
    is_active       boolean NOT NULL,
    is_opted_out    boolean NOT NULL,
    cohort_id       smallint NOT NULL,
    created_at      timestamptz NOT NULL,
    effective_at    timestamptz NOT NULL,
    request_id      text NOT NULL,
    user_id         text,
    attributes      jsonb NOT NULL,
    metrics         jsonb NOT NULL,
    demographic     jsonb NOT NULL,
    location        jsonb NOT NULL,
    user_attributes jsonb NOT NULL,
    PRIMARY KEY (app_id, endpoint_id)
) WITH (fillfactor = 85);
CREATE INDEX endpoint_by_user ON endpoint (app_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX endpoint_by_address ON endpoint (app_id, address) WHERE address IS NOT NULL;

-- The names an app's attributes have taken: at most 250 over the three kinds.
CREATE TABLE attribute_name (
    app_id text NOT NULL REFERENCES app ON DELETE CASCADE,
    kind   text NOT NULL CHECK (kind IN ('attributes', 'metrics', 'user_attributes')),
    name   text NOT NULL,
    PRIMARY KEY (app_id, kind, name)
);

CREATE TABLE template (
    region         text NOT NULL,
    template_type  text NOT NULL,
    name           text NOT NULL,
    active_version int NOT NULL,
    latest_version int NOT NULL,             -- the highest number ever given: numbers are not reused
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (region, template_type, name)
);
CREATE TABLE template_version (
    region        text NOT NULL,
    template_type text NOT NULL,
    name          text NOT NULL,
    version       int NOT NULL,
    document      jsonb NOT NULL,            -- the request, less its tags
    created_at    timestamptz NOT NULL,
    modified_at   timestamptz NOT NULL,
    PRIMARY KEY (region, template_type, name, version),
    FOREIGN KEY (region, template_type, name) REFERENCES template ON DELETE CASCADE
);

-- What one activity sends: the content all its messages share. A SendMessages request is an activity of its own.
CREATE TABLE activity (
    activity_id text PRIMARY KEY,
    app_id      text NOT NULL,
    content     jsonb NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX activity_by_age ON activity (created_at);

-- The ledger: a row for each recipient of an activity, and what became of it.
CREATE TABLE message (
    app_id         text NOT NULL,
    activity_id    text NOT NULL,
    endpoint_id    text NOT NULL,            -- the endpoint's, or the address for a bare address
    message_id     text NOT NULL,
    channel_type   text NOT NULL,
    address        text NOT NULL,
    state          text NOT NULL CHECK (state IN ('ACCEPTED', 'SENT', 'STOPPED', 'FAILED')),
    status_code    smallint NOT NULL DEFAULT 0,
    status_message text NOT NULL DEFAULT '',
    attempts       smallint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL,
    modified_at    timestamptz NOT NULL,
    PRIMARY KEY (app_id, activity_id, endpoint_id)
) WITH (fillfactor = 85);
CREATE INDEX message_by_id ON message (message_id);
CREATE INDEX message_by_age ON message (created_at);

-- The work that is left: a row for each message not yet settled, leased by workers, removed with the outcome.
CREATE TABLE outbox (
    outbox_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id       text NOT NULL,
    activity_id  text NOT NULL,
    endpoint_id  text NOT NULL,
    message_id   text NOT NULL,
    channel_type text NOT NULL,
    address      text NOT NULL,
    personal     jsonb NOT NULL,             -- what this recipient alone has: substitutions, overrides, context
    attempts     smallint NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL,       -- not before; a lease moves it to the lease's end
    expires_at   timestamptz NOT NULL        -- given up on after
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_by_due ON outbox (due_at);

-- The log: everything that happens, append-only, a partition a day. xid lets a reader wait for what commits late.
CREATE TABLE event (
    arrival_at  timestamptz NOT NULL,
    event_id    bigint GENERATED ALWAYS AS IDENTITY,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    app_id      text NOT NULL,
    endpoint_id text NOT NULL,
    event_type  text NOT NULL,
    event_at    timestamptz NOT NULL,
    document    jsonb NOT NULL               -- attributes, metrics, session, facets …: what its type adds
) PARTITION BY RANGE (arrival_at);
CREATE TABLE event_default PARTITION OF event DEFAULT;
CREATE INDEX event_by_position ON event (xid, event_id);

-- Messages that went nowhere: what the inbox shows while no relay or provider is configured.
CREATE TABLE inbox_message (
    inbox_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at  timestamptz NOT NULL,
    channel_type text NOT NULL,
    message_id   text NOT NULL,
    sender       text NOT NULL,
    recipient    text NOT NULL,
    subject      text NOT NULL,
    preview      text NOT NULL,
    content      bytea NOT NULL,             -- an email's source, or the text message's JSON
    is_read      boolean NOT NULL DEFAULT false
);
CREATE INDEX inbox_message_by_age ON inbox_message (received_at);

-- Deleted apps whose endpoints, messages and events are still being removed, slice by slice.
CREATE TABLE app_purge (
    app_id text PRIMARY KEY
);
