-- Several writers at one address at the same moment: it belongs to the endpoint that claimed it last. Who claims one
-- takes its lock as a user's is taken (0021), before it looks at who else has it.

-- As before, also for an endpoint that comes to its address: `to_address`, where it does; `of_user`, where it joins the
-- user or changes what is known of them.
DROP FUNCTION may_write_alone(text, text, text, boolean, jsonb);
CREATE FUNCTION may_write_alone(
    of_app text, of_endpoint text, to_address text, of_user text, joins boolean, knows jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared(hashtextextended('users/' || of_app, 0))
        OR NOT pg_try_advisory_xact_lock(hashtextextended('user/' || of_app || '/' || of_user, 0))
        OR NOT pg_try_advisory_xact_lock(hashtextextended('address/' || of_app || '/' || to_address, 0)) THEN
        RETURN false;
    END IF;
    -- Nobody is found at what is NULL, but looking there takes its time: so each case asks no more than it must.
    IF of_user IS NULL THEN
        RETURN NOT EXISTS (
                SELECT FROM endpoint o WHERE o.app_id = of_app AND o.address = to_address
                    AND o.endpoint_id <> of_endpoint AND o.is_active)
            AND NOT EXISTS (
                SELECT FROM job j WHERE j.app_id = of_app AND j.job_type = 'IMPORT' AND j.completed_at IS NULL
                    AND j.status <> 'CREATED');
    ELSIF to_address IS NULL THEN
        RETURN NOT EXISTS (
                SELECT FROM endpoint o WHERE o.app_id = of_app AND o.user_id = of_user AND o.endpoint_id <> of_endpoint
                    AND (joins OR o.user_attributes <> knows))
            AND NOT EXISTS (
                SELECT FROM job j WHERE j.app_id = of_app AND j.job_type = 'IMPORT' AND j.completed_at IS NULL
                    AND j.status <> 'CREATED');
    END IF;
    RETURN NOT EXISTS (
            SELECT FROM endpoint o WHERE o.app_id = of_app AND o.user_id = of_user AND o.endpoint_id <> of_endpoint
                AND (joins OR o.user_attributes <> knows))
        AND NOT EXISTS (
            SELECT FROM endpoint o WHERE o.app_id = of_app AND o.address = to_address
                AND o.endpoint_id <> of_endpoint AND o.is_active)
        AND NOT EXISTS (
            SELECT FROM job j WHERE j.app_id = of_app AND j.job_type = 'IMPORT' AND j.completed_at IS NULL
                AND j.status <> 'CREATED');
END $$;

-- As lock_users before, with addresses: a lock for each application, shared, and for what else is not NULL.
DROP FUNCTION lock_users(text[], text[]);
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

-- To which endpoints requests have given addresses while an import of the application was under way: before it ends,
-- it looks at them as at users (user_update).
CREATE TABLE address_update (
    app_id      text NOT NULL,
    address     text NOT NULL,
    update_id   bigint GENERATED ALWAYS AS IDENTITY,
    endpoint_id text NOT NULL,
    PRIMARY KEY (app_id, address, update_id)
);
