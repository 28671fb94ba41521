-- Campaigns: definitions with all their versions, when each treatment runs next, the runs, and whom each run left out.

CREATE TABLE campaign (
    app_id         text NOT NULL REFERENCES app ON DELETE CASCADE,
    campaign_id    text NOT NULL,
    latest_version int NOT NULL,
    defaults       jsonb NOT NULL,           -- the application's Limits, QuietTime and CampaignHook at creation
    fault          text CHECK (fault IN ('DELETED', 'INVALID')),
    fault_reason   text NOT NULL DEFAULT '', -- why it cannot run any more
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (app_id, campaign_id)
);

CREATE TABLE campaign_version (
    app_id      text NOT NULL,
    campaign_id text NOT NULL,
    version     int NOT NULL,
    document    jsonb NOT NULL,              -- a WriteCampaignRequest, less its tags, SegmentVersion filled in
    modified_at timestamptz NOT NULL,
    PRIMARY KEY (app_id, campaign_id, version),
    FOREIGN KEY (app_id, campaign_id) REFERENCES campaign ON DELETE CASCADE
);

-- Each treatment may have a schedule of its own. `next_at` is when somebody has to look at it, `next_slot` the time
-- it is scheduled for: for recipient-local schedules the first zone's clock strikes earlier.
CREATE TABLE campaign_treatment (
    app_id       text NOT NULL,
    campaign_id  text NOT NULL,
    treatment_id text NOT NULL,              -- '0', the default treatment, to '4'
    next_slot    timestamptz,
    next_at      timestamptz,                -- null: it will not run again
    last_slot    timestamptz,                -- the last one that was begun, or missed
    PRIMARY KEY (app_id, campaign_id, treatment_id),
    FOREIGN KEY (app_id, campaign_id) REFERENCES campaign ON DELETE CASCADE
);
CREATE INDEX campaign_treatment_by_due ON campaign_treatment (next_at) WHERE next_at IS NOT NULL;

-- A run of one treatment. It outlives its campaign, as the ledger does.
CREATE TABLE campaign_activity (
    activity_id     text PRIMARY KEY,
    app_id          text NOT NULL REFERENCES app ON DELETE CASCADE,
    campaign_id     text NOT NULL,
    version         int NOT NULL,            -- of the campaign
    treatment_id    text NOT NULL,
    frequency       text NOT NULL,           -- EVENT and IN_APP_EVENT: one activity, as long as the window is open
    slot            timestamptz NOT NULL,
    scheduled_start timestamptz NOT NULL,
    state           text NOT NULL
        CHECK (state IN ('PENDING', 'INITIALIZING', 'RUNNING', 'PAUSED', 'CANCELLED', 'COMPLETED')),
    result          text CHECK (result IN ('SUCCESS', 'FAIL')),
    reason          text NOT NULL DEFAULT '', -- of a failure or a cancellation
    started_at      timestamptz,
    ended_at        timestamptz,
    expires_at      timestamptz,             -- what is not sent by then is not sent; or the window's end
    rate            int,                     -- messages per second
    metrics         jsonb NOT NULL DEFAULT '{}', -- endpoints by the reason they were left out
    counts          jsonb,                   -- the ledger by outcome, once the run has ended
    facts           jsonb NOT NULL DEFAULT '{}', -- what held at the time: segment and template versions, limits, cohorts
    UNIQUE (app_id, campaign_id, treatment_id, slot)
);
CREATE INDEX campaign_activity_under_way ON campaign_activity (activity_id) WHERE ended_at IS NULL;
CREATE INDEX campaign_activity_by_start ON campaign_activity (app_id, started_at);

-- Where a run's messages are in the ledger: message.activity_id is a ledger_id. A run has one; one by recipients' time
-- has another for each wave, so that what is sent meanwhile is never cut into slices twice.
CREATE TABLE campaign_ledger (
    ledger_id   text PRIMARY KEY,
    activity_id text NOT NULL REFERENCES campaign_activity ON DELETE CASCADE,
    created_at  timestamptz NOT NULL
);
CREATE INDEX campaign_ledger_by_activity ON campaign_ledger (activity_id);

-- What is left to select of a run: everybody at once, or those of some time zones as their hour comes.
CREATE TABLE campaign_wave (
    wave_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id        text NOT NULL REFERENCES app ON DELETE CASCADE,
    campaign_id   text NOT NULL,
    version       int NOT NULL,
    slot          timestamptz NOT NULL,
    treatment_ids text[] NOT NULL,
    zones         text[],                    -- null: everybody
    is_first      boolean NOT NULL,          -- the one that also counts those whom no wave is for
    due_at        timestamptz NOT NULL,
    done_at       timestamptz
);
CREATE INDEX campaign_wave_by_due ON campaign_wave (due_at) WHERE done_at IS NULL;
CREATE INDEX campaign_wave_by_run ON campaign_wave (app_id, campaign_id, slot);

-- Members of the segment that a run left out, and why. Distributable by endpoint_id, as the ledger is.
CREATE TABLE campaign_drop (
    app_id      text NOT NULL,
    activity_id text NOT NULL,
    endpoint_id text NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (app_id, activity_id, endpoint_id)
);
