-- What deleted templates said. Messages that were accepted before, and campaigns that name them, are made of it still:
-- deleting a template does no harm to what is scheduled with it (Pinpoint's user guide).
CREATE TABLE deleted_template (
    region        text NOT NULL,
    template_type text NOT NULL,
    name          text NOT NULL,
    version       int NOT NULL,
    was_active    boolean NOT NULL,
    document      jsonb NOT NULL,
    created_at    timestamptz NOT NULL,
    modified_at   timestamptz NOT NULL,
    deleted_at    timestamptz NOT NULL,
    PRIMARY KEY (region, template_type, name, version)
);
CREATE INDEX ON deleted_template (deleted_at);
