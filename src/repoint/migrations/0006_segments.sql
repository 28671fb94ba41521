-- Segments: which endpoints a campaign, a journey or an export is for. Every version is kept.

CREATE TABLE segment (
    app_id         text NOT NULL REFERENCES app ON DELETE CASCADE,
    segment_id     text NOT NULL,
    latest_version int NOT NULL,
    member_version int NOT NULL DEFAULT 0,   -- the highest number a set of members was given; see segment_member
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (app_id, segment_id)
);

CREATE TABLE segment_version (
    app_id            text NOT NULL,
    segment_id        text NOT NULL,
    version           int NOT NULL,
    name              text NOT NULL,
    criteria          jsonb NOT NULL,        -- {"Dimensions": …}, {"SegmentGroups": …} or {}: everyone
    import_definition jsonb,                 -- of an imported segment: the model's SegmentImportResource
    member_version    int,                   -- of an imported segment: which set of members is this version's
    modified_at       timestamptz NOT NULL,
    PRIMARY KEY (app_id, segment_id, version),
    FOREIGN KEY (app_id, segment_id) REFERENCES segment ON DELETE CASCADE,
    CHECK ((import_definition IS NULL) = (member_version IS NULL))
);

-- Who an imported segment is. `version` is segment_version.member_version: a version that only renames shares its
-- members with the one before. Distributable by endpoint_id, as endpoint is.
CREATE TABLE segment_member (
    app_id      text NOT NULL,
    segment_id  text NOT NULL,
    version     int NOT NULL,
    endpoint_id text NOT NULL,
    PRIMARY KEY (app_id, segment_id, version, endpoint_id)
);

-- Users an imported segment names by id alone: whatever endpoints they have at the time of use are members. On a
-- cluster this is a reference table.
CREATE TABLE segment_user (
    app_id     text NOT NULL,
    segment_id text NOT NULL,
    version    int NOT NULL,
    user_id    text NOT NULL,
    PRIMARY KEY (app_id, segment_id, version, user_id)
);

-- Deleted segments whose members are still being removed, slice by slice.
CREATE TABLE segment_purge (
    app_id     text NOT NULL,
    segment_id text NOT NULL,
    PRIMARY KEY (app_id, segment_id)
);

-- What makes selective segments quick: equality of attributes (jsonb containment), and the country. The other
-- dimensions are answered by a scan; docs/decisions tells what was tried.
CREATE INDEX endpoint_by_attributes ON endpoint USING gin (attributes jsonb_path_ops, user_attributes jsonb_path_ops);
CREATE INDEX endpoint_by_country ON endpoint (app_id, (location ->> 'Country')) WHERE location ->> 'Country' IS NOT NULL;
