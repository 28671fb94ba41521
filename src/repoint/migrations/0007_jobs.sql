-- Import and export jobs, and the pieces they are done in. What an import has done of a piece is committed together
-- with the endpoints it wrote, so a piece goes on exactly where it was, whoever goes on with it.

CREATE TABLE job (
    job_id         text PRIMARY KEY,
    app_id         text NOT NULL REFERENCES app ON DELETE CASCADE,
    job_type       text NOT NULL CHECK (job_type IN ('IMPORT', 'EXPORT')),
    status         text NOT NULL,
    definition     jsonb NOT NULL,           -- the request
    created_at     timestamptz NOT NULL,
    completed_at   timestamptz,
    segment_id     text,                     -- made, changed or exported
    member_version int,                      -- of an import that defines a segment: what its members are written under
    reason         text                      -- why the job as a whole failed
);
CREATE INDEX job_by_app ON job (app_id, job_type, created_at, job_id);
CREATE INDEX job_running ON job (job_type) WHERE completed_at IS NULL;

CREATE TABLE job_piece (
    job_id      text NOT NULL REFERENCES job ON DELETE CASCADE,
    piece       int NOT NULL,
    key         text NOT NULL,               -- the file
    e_tag       text,                        -- as it was when the job began; a file that changes meanwhile fails
    file_bytes  bigint NOT NULL,             -- the whole file's
    begins_at   bigint NOT NULL,             -- bytes; a piece's first line is the first that begins at or after this
    ends_at     bigint NOT NULL,             -- and its last the last that begins before this
    is_gzip     boolean NOT NULL,            -- never split; read_to then counts bytes after decompression
    status      text NOT NULL DEFAULT 'WAITING' CHECK (status IN ('WAITING', 'COMPLETED', 'FAILED')),
    read_to     bigint NOT NULL,             -- everything before this is done and committed
    lines       bigint NOT NULL DEFAULT 0,   -- of this piece, as far as it is read
    processed   bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    failures    jsonb NOT NULL DEFAULT '[]', -- the first 100: [line of this piece, what is wrong]
    reason      text,                        -- why the piece as a whole failed
    PRIMARY KEY (job_id, piece)
) WITH (fillfactor = 50);

-- The last value of several jsonb objects laid over each other, name by name.
CREATE AGGREGATE jsonb_overlay(jsonb) (sfunc = jsonb_concat, stype = jsonb, initcond = '{}');

-- What a watched prefix has seen: a file is imported once for each of its contents.
CREATE TABLE watched_file (
    app_id  text NOT NULL REFERENCES app ON DELETE CASCADE,
    url     text NOT NULL,
    version text NOT NULL,                   -- its e-tag, or its size and date
    job_id  text NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (app_id, url, version)
);
