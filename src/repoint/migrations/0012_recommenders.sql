-- Recommender configurations: of an account, not of an application.

CREATE TABLE recommender (
    region         text NOT NULL,
    recommender_id text NOT NULL,
    document       jsonb NOT NULL,           -- the request it was last written by
    created_at     timestamptz NOT NULL,
    modified_at    timestamptz NOT NULL,
    PRIMARY KEY (region, recommender_id)
);
