-- Several writers at one user, or one address, at the same moment. Endpoints of a user share the user's attributes and
-- are at most 15, and an address belongs to the endpoint that claimed it last; so who adds an endpoint to a user, changes
-- what is known of the user, or claims an address, looks at the others, and does not see a writer that has not committed.
-- So writers take the user's and the address's lock before they look, and look with a snapshot that is newer than the
-- locks: each statement of a volatile function has one of its own.

-- Whether one statement, which has its snapshot already, may write an endpoint: `to_address`, where it comes to it;
-- `of_user`, where it joins the user, or changes the user's attributes to `knows`. Nobody waits here: who is not alone
-- goes on to lock_touched, in a transaction. Who is asked for NULL is not looked for, which would take its time.
CREATE FUNCTION may_write_alone(
    of_app text, of_endpoint text, to_address text, of_user text, joins boolean, knows jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared(hashtextextended('users/' || of_app, 0))
        OR NOT pg_try_advisory_xact_lock(hashtextextended('user/' || of_app || '/' || of_user, 0))
        OR NOT pg_try_advisory_xact_lock(hashtextextended('address/' || of_app || '/' || to_address, 0)) THEN
        RETURN false;
    END IF;
    RETURN NOT (of_user IS NOT NULL AND EXISTS (
            SELECT FROM endpoint o WHERE o.app_id = of_app AND o.user_id = of_user AND o.endpoint_id <> of_endpoint
                AND (joins OR o.user_attributes <> knows)))
        AND NOT (to_address IS NOT NULL AND EXISTS (
            SELECT FROM endpoint o WHERE o.app_id = of_app AND o.address = to_address
                AND o.endpoint_id <> of_endpoint AND o.is_active))
        AND NOT EXISTS (
            SELECT FROM job j WHERE j.app_id = of_app AND j.job_type = 'IMPORT' AND j.completed_at IS NULL
                AND j.status <> 'CREATED');
END $$;

-- The locks of users and addresses, each where it is not NULL, with their applications, until the transaction ends;
-- returns those of the applications that have an import under way. The applications' shared locks come first: who begins
-- or ends an import waits for all who hold one, and nobody who waits for one holds anything.
CREATE FUNCTION lock_touched(apps text[], users text[], addresses text[]) RETURNS text[] LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(key) FROM (
        SELECT DISTINCT hashtextextended('users/' || app, 0) AS key FROM unnest(apps) AS app ORDER BY key) AS wanted;
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT hashtextextended('user/' || app || '/' || one, 0) AS key FROM unnest(apps, users) AS pair (app, one)
        UNION SELECT hashtextextended('address/' || app || '/' || one, 0)
        FROM unnest(apps, addresses) AS pair (app, one) ORDER BY key) AS wanted;
    RETURN ARRAY(
        SELECT DISTINCT j.app_id FROM job j
        WHERE j.app_id = ANY(apps) AND j.job_type = 'IMPORT' AND j.completed_at IS NULL AND j.status <> 'CREATED');
END $$;

CREATE INDEX job_importing ON job (app_id) WHERE job_type = 'IMPORT' AND completed_at IS NULL;

-- What requests have said of users, and to which endpoints they have given addresses, while an import of the application
-- was under way. A chunk of an import, too large to hold locks for these, and such a request may each commit without
-- having seen the other; before the import ends it looks at these users and addresses again.
CREATE TABLE user_update (
    app_id          text NOT NULL,
    user_id         text NOT NULL,
    update_id       bigint GENERATED ALWAYS AS IDENTITY,
    user_attributes jsonb,                   -- as given: null removes a name; NULL for who only joined
    PRIMARY KEY (app_id, user_id, update_id)
);
CREATE TABLE address_update (
    app_id      text NOT NULL,
    address     text NOT NULL,
    update_id   bigint GENERATED ALWAYS AS IDENTITY,
    endpoint_id text NOT NULL,
    PRIMARY KEY (app_id, address, update_id)
);
