-- Bulk payouts. One hold covers a whole run, and ends part by part: capture_part takes into flight
-- what a chain transaction pays, release_part gives back what will not be paid. The other operations
-- end a hold at one go, as before, and do not mix with these.

CREATE OR REPLACE FUNCTION ledger_end_holds(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    asked integer;
    ended integer;
    given_back jsonb;
BEGIN
    SELECT count(DISTINCT p -> 'hold' ->> 'id') INTO asked
    FROM jsonb_array_elements(posted) p WHERE p -> 'hold' ->> 'op' <> 'place';
    IF asked = 0 THEN RETURN; END IF;

    PERFORM 1 FROM hold WHERE id IN (
        SELECT p -> 'hold' ->> 'id' FROM jsonb_array_elements(posted) p
        WHERE p -> 'hold' ->> 'op' <> 'place'
    ) ORDER BY id FOR UPDATE;

    -- What ends at one go gives back all that was reserved with it; a part says what it gives back.
    SELECT coalesce(jsonb_agg(to_jsonb(b)), '[]') INTO given_back
    FROM (
        SELECT h.owner AS subject, l ->> 'name' AS name,
               (l ->> 'window_start')::timestamptz AS window_start,
               sum((l ->> 'amount')::numeric) AS amount,
               sum(coalesce((l ->> 'count')::integer, 1)) AS times
        FROM jsonb_array_elements(posted) p
        JOIN hold h ON h.id = p -> 'hold' ->> 'id',
        LATERAL jsonb_array_elements(CASE WHEN p -> 'hold' ->> 'op' = 'release_part'
                                          THEN p -> 'hold' -> 'limits' ELSE h.limits END) l
        WHERE p -> 'hold' ->> 'op' IN ('release', 'expire', 'release_part')
        GROUP BY 1, 2, 3
    ) b;

    PERFORM 1 FROM limit_counter c
    WHERE (c.subject, c.name, c.window_start) IN (
        SELECT b.subject, b.name, b.window_start
        FROM jsonb_to_recordset(given_back) AS b (subject text, name text, window_start timestamptz))
    ORDER BY c.subject, c.name, c.window_start FOR UPDATE;

    WITH ask AS (
        SELECT p -> 'hold' ->> 'id' AS id,
               bool_or(p -> 'hold' ->> 'op' NOT IN ('capture_part', 'release_part')) AS is_whole,
               count(*) AS operations,
               min(p -> 'hold' ->> 'op') AS op,
               sum(coalesce((p -> 'hold' ->> 'amount')::numeric, 0)) AS amount,
               coalesce(sum((p -> 'hold' ->> 'amount')::numeric)
                        FILTER (WHERE p -> 'hold' ->> 'op' = 'capture_part'), 0) AS captured,
               coalesce(sum((p -> 'hold' ->> 'amount')::numeric)
                        FILTER (WHERE p -> 'hold' ->> 'op' = 'release_part'), 0) AS released
        FROM jsonb_array_elements(posted) p WHERE p -> 'hold' ->> 'op' <> 'place'
        GROUP BY 1
    ), whole AS (
        UPDATE hold h SET
            status = CASE ask.op WHEN 'capture' THEN 'captured'
                                 WHEN 'release' THEN 'released' ELSE 'expired' END,
            captured_minor = CASE ask.op WHEN 'capture' THEN ask.amount ELSE 0 END,
            ended_at = clock_timestamp()
        FROM ask
        WHERE ask.is_whole AND ask.operations = 1 AND h.id = ask.id AND h.status = 'placed'
          AND h.captured_minor = 0 AND h.released_minor = 0 AND ask.amount <= h.amount_minor
        RETURNING h.id
    ), part AS (
        UPDATE hold h SET
            captured_minor = h.captured_minor + ask.captured,
            released_minor = h.released_minor + ask.released,
            status = CASE
                WHEN h.captured_minor + h.released_minor + ask.amount < h.amount_minor THEN 'placed'
                WHEN h.captured_minor + ask.captured > 0 THEN 'captured' ELSE 'released' END,
            ended_at = CASE
                WHEN h.captured_minor + h.released_minor + ask.amount < h.amount_minor THEN NULL
                ELSE clock_timestamp() END
        FROM ask
        WHERE NOT ask.is_whole AND h.id = ask.id AND h.status = 'placed'
          AND h.captured_minor + h.released_minor + ask.amount <= h.amount_minor
        RETURNING h.id
    )
    SELECT (SELECT count(*) FROM whole) + (SELECT count(*) FROM part) INTO ended;

    IF ended <> asked THEN
        RAISE EXCEPTION 'hold is not open, or covers less than is captured' USING ERRCODE = 'SR003';
    END IF;

    UPDATE limit_counter c
    SET amount_minor = c.amount_minor - b.amount, count = c.count - b.times
    FROM jsonb_to_recordset(given_back)
        AS b (subject text, name text, window_start timestamptz, amount numeric, times integer)
    WHERE c.subject = b.subject AND c.name = b.name AND c.window_start = b.window_start;
END $$;

-- A run's reservation counts as many payments as it has lines.
CREATE OR REPLACE FUNCTION ledger_place_holds(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    passed text;
BEGIN
    INSERT INTO hold (id, owner, asset, amount_minor, captured_minor, status, expires_at, limits,
                      placed_at)
    SELECT p -> 'hold' ->> 'id', p -> 'hold' ->> 'owner', p -> 'hold' ->> 'asset',
           (p -> 'hold' ->> 'amount')::numeric, 0, 'placed',
           (p -> 'hold' ->> 'expires_at')::timestamptz, p -> 'hold' -> 'limits', clock_timestamp()
    FROM jsonb_array_elements(posted) p WHERE p -> 'hold' ->> 'op' = 'place';

    WITH raised AS (
        INSERT INTO limit_counter AS c (subject, name, window_start, amount_minor, count)
        SELECT p -> 'hold' ->> 'owner', l ->> 'name', (l ->> 'window_start')::timestamptz,
               sum((l ->> 'amount')::numeric), sum(coalesce((l ->> 'count')::integer, 1))
        FROM jsonb_array_elements(posted) p, jsonb_array_elements(p -> 'hold' -> 'limits') l
        WHERE p -> 'hold' ->> 'op' = 'place'
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (subject, name, window_start) DO UPDATE
            SET amount_minor = c.amount_minor + excluded.amount_minor,
                count = c.count + excluded.count
        RETURNING c.subject, c.name, c.window_start, c.amount_minor, c.count
    )
    SELECT r.name INTO passed
    FROM raised r
    JOIN (
        SELECT p -> 'hold' ->> 'owner' AS subject, l ->> 'name' AS name,
               min((l ->> 'amount_cap')::numeric) AS amount_cap,
               min((l ->> 'count_cap')::integer) AS count_cap
        FROM jsonb_array_elements(posted) p, jsonb_array_elements(p -> 'hold' -> 'limits') l
        WHERE p -> 'hold' ->> 'op' = 'place' GROUP BY 1, 2
    ) cap ON cap.subject = r.subject AND cap.name = r.name
    WHERE r.amount_minor > cap.amount_cap OR r.count > cap.count_cap
    LIMIT 1;

    IF passed IS NOT NULL THEN
        RAISE EXCEPTION 'limit % exceeded', passed USING ERRCODE = 'SR002', DETAIL = passed;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger_check_holds(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM (
            SELECT p ->> 'id' AS id, e ->> 0 AS code, e ->> 1 AS asset,
                   sum((e ->> 2)::numeric) AS amount
            FROM jsonb_array_elements(posted) p, jsonb_array_elements(p -> 'entries') e
            WHERE e ->> 0 LIKE 'user:%:held'
               OR (e ->> 0 LIKE 'user:%' AND p -> 'hold' ->> 'op' IS NOT NULL)
            GROUP BY 1, 2, 3
        ) moved
        FULL JOIN (
            SELECT p ->> 'id' AS id, 'user:' || h.owner || side.name AS code, h.asset, side.amount
            FROM jsonb_array_elements(posted) p
            JOIN hold h ON h.id = p -> 'hold' ->> 'id',
            LATERAL (VALUES
                (':held', CASE
                    WHEN p -> 'hold' ->> 'op' IN ('capture_part', 'release_part')
                        THEN -(p -> 'hold' ->> 'amount')::numeric
                    WHEN p -> 'hold' ->> 'op' = 'place' THEN h.amount_minor
                    ELSE -h.amount_minor END),
                (':available', CASE p -> 'hold' ->> 'op'
                    WHEN 'capture_part' THEN 0
                    WHEN 'release_part' THEN (p -> 'hold' ->> 'amount')::numeric
                    WHEN 'place' THEN -h.amount_minor
                    ELSE h.amount_minor - h.captured_minor END)
            ) side (name, amount)
            WHERE side.amount <> 0
        ) due USING (id, code, asset)
        WHERE moved.amount IS DISTINCT FROM due.amount
    ) THEN
        RAISE EXCEPTION 'held money moves only with its hold' USING ERRCODE = 'SR003';
    END IF;
END $$;

-- A line is what was uploaded, checked and approved: from the start of its run on nothing of it
-- changes but where it stands. Its money goes into flight once and is marked so for good.
CREATE FUNCTION keep_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        PERFORM 1 FROM payout_run r WHERE r.id = new.run_id AND r.status = 'draft' FOR UPDATE;
        IF FOUND THEN RETURN new; END IF;
    END IF;
    RAISE EXCEPTION 'a line of a started run does not change' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_line_at_first BEFORE INSERT ON payout FOR EACH ROW
    WHEN (new.run_id IS NOT NULL) EXECUTE FUNCTION keep_line();
CREATE TRIGGER keep_line BEFORE UPDATE ON payout FOR EACH ROW
    WHEN ((old.run_id IS NOT NULL OR new.run_id IS NOT NULL) AND (
          (old.is_captured AND NOT new.is_captured) OR
          (old.id, old.run_id, old.line_number, old.user_id, old.asset, old.chain_id,
           old.amount_minor, old.fee_minor, old.destination, old.hold_id) IS DISTINCT FROM
          (new.id, new.run_id, new.line_number, new.user_id, new.asset, new.chain_id,
           new.amount_minor, new.fee_minor, new.destination, new.hold_id)))
    EXECUTE FUNCTION keep_line();

CREATE FUNCTION keep_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a started run does not change' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_run BEFORE UPDATE ON payout_run FOR EACH ROW
    WHEN ((old.status <> 'draft' AND (new.status = 'draft' OR
           (old.hold_id, old.content_hash, old.policy_version, old.approvals_required,
            old.idempotency_key) IS DISTINCT FROM
           (new.hold_id, new.content_hash, new.policy_version, new.approvals_required,
            new.idempotency_key))) OR
          (old.id, old.user_id, old.principal, old.asset, old.chain_id, old.line_count,
           old.total_minor, old.fee_total_minor, old.content_sha256) IS DISTINCT FROM
          (new.id, new.user_id, new.principal, new.asset, new.chain_id, new.line_count,
           new.total_minor, new.fee_total_minor, new.content_sha256))
    EXECUTE FUNCTION keep_run();
CREATE TRIGGER keep_run_from_deletion BEFORE DELETE ON payout_run FOR EACH ROW
    WHEN (old.status <> 'draft') EXECUTE FUNCTION keep_run();

-- Whoever uploads writes drafts and nothing else.
CREATE FUNCTION keep_draft() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    run text := CASE tg_op WHEN 'DELETE' THEN old.run_id ELSE new.run_id END;
BEGIN
    PERFORM 1 FROM payout_run r WHERE r.id = run AND r.status = 'draft' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a started run does not change' USING ERRCODE = 'SR009';
    END IF;
    RETURN CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
END $$;

CREATE TRIGGER keep_draft BEFORE INSERT OR UPDATE OR DELETE ON payout_run_line FOR EACH ROW
    EXECUTE FUNCTION keep_draft();
CREATE TRIGGER keep_run_at_first BEFORE INSERT ON payout_run FOR EACH ROW
    WHEN (new.status <> 'draft' OR new.hold_id IS NOT NULL) EXECUTE FUNCTION keep_run();

CREATE FUNCTION run_decision_content(d run_decision) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        jsonb_build_array(d.id, d.run_id, d.approver_id, d.decision, d.line_numbers,
                          d.content_hash, d.policy_version, d.second_factor, d.note,
                          extract(epoch FROM d.decided_at))::text,
        'UTF8')), 'hex')
$$;

CREATE FUNCTION audit_run_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM audit_append(ARRAY['run_decision'], ARRAY[new.id], ARRAY[run_decision_content(new)]);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER run_decision_audited AFTER INSERT ON run_decision
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_run_decision();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON run_decision
    EXECUTE FUNCTION append_only();

-- What a signed transaction calls and whom it did not pay belong to it as its amount does.
CREATE TRIGGER keep_signed_call BEFORE UPDATE OF disperse_address ON chain_transaction FOR EACH ROW
    WHEN (old.disperse_address IS DISTINCT FROM new.disperse_address)
    EXECUTE FUNCTION keep_signed();

GRANT SELECT ON payout_run, run_decision, address_screening, address_book_entry, payout_preference
    TO strongroom_api, strongroom_worker, strongroom_signer;
GRANT SELECT ON payout_run_line TO strongroom_api, strongroom_worker;
GRANT INSERT, DELETE ON payout_run, payout_run_line TO strongroom_api;
GRANT INSERT, UPDATE ON address_book_entry, payout_preference TO strongroom_api;
GRANT INSERT, UPDATE, DELETE ON address_screening TO strongroom_api;
GRANT UPDATE (status, idempotency_key, policy_version, approvals_required, approval_expires_at,
              hold_id, content_hash, started_at, finished_at, updated_at)
    ON payout_run TO strongroom_worker;
GRANT INSERT ON run_decision TO strongroom_worker;
GRANT EXECUTE ON FUNCTION run_decision_content(run_decision)
    TO strongroom_api, strongroom_worker, strongroom_signer;
REVOKE EXECUTE ON FUNCTION keep_line(), keep_run(), keep_draft(), audit_run_decision() FROM PUBLIC;
