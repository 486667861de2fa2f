-- What is reserved of a limit is given back with its hold. Rows are only ever added, so that giving
-- back waits for nobody: a reservation locks its user's operation before the ledger locks anything,
-- and a hold that ends, which the ledger has locked, adds rows that nobody waits for.

CREATE FUNCTION limit_given_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO limit_usage (key, user_id, operation, asset, amount_minor, times, hold_id,
                             resource_id, at, recorded_at)
    SELECT 'back:' || min(u.key) FILTER (WHERE u.times > 0), u.user_id, u.operation, u.asset,
           -sum(u.amount_minor), -sum(u.times), u.hold_id, u.resource_id, u.at, clock_timestamp()
    FROM limit_usage u WHERE u.hold_id = new.id
    GROUP BY u.user_id, u.operation, u.asset, u.hold_id, u.resource_id, u.at
    HAVING sum(u.times) <> 0 OR sum(u.amount_minor) <> 0
    ON CONFLICT (key) DO NOTHING;
    RETURN NULL;
END $$;

-- A hold that ends part by part has released_minor. Whoever releases a part knows how many payments
-- it was and what of it was no fee, and says so in limits/reservation.py.
CREATE TRIGGER limit_given_back AFTER UPDATE OF status ON hold FOR EACH ROW
    WHEN (old.status = 'placed' AND new.status IN ('released', 'expired')
          AND new.released_minor = 0)
    EXECUTE FUNCTION limit_given_back();

CREATE FUNCTION limits_content(v limits_version) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        jsonb_build_array(v.version, v.document, v.created_by,
                          extract(epoch FROM v.created_at))::text,
        'UTF8')), 'hex')
$$;

CREATE FUNCTION audit_limits() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM audit_append(ARRAY['limits'], ARRAY[new.version::text], ARRAY[limits_content(new)]);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER limits_audited AFTER INSERT ON limits_version
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_limits();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON limits_version
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON limit_usage
    EXECUTE FUNCTION append_only();

-- Until an owner writes a table, nothing is capped.
INSERT INTO limits_version (document, created_at) VALUES ('{"limits": []}', now());
-- Sealed now, so that a later migration finds no pending trigger.
SET CONSTRAINTS ALL IMMEDIATE;

GRANT SELECT ON limits_version, limit_usage, limit_lock
    TO strongroom_api, strongroom_worker;
GRANT INSERT ON limits_version TO strongroom_api;
GRANT USAGE ON SEQUENCE limits_version_version_seq TO strongroom_api;
GRANT INSERT ON limit_usage, limit_lock TO strongroom_worker;
GRANT UPDATE (reservations) ON limit_lock TO strongroom_worker;
GRANT USAGE ON SEQUENCE limit_usage_id_seq TO strongroom_worker;
GRANT EXECUTE ON FUNCTION limits_content(limits_version)
    TO strongroom_api, strongroom_worker, strongroom_signer;
REVOKE EXECUTE ON FUNCTION limit_given_back(), audit_limits() FROM PUBLIC;
