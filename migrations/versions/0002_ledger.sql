-- The ledger's only writer. Everything that one posting must do together is in one function, so
-- that the hot path is one round trip and one commit, and thousands of postings cost one of each.
--
-- SQLSTATEs raised here, translated in ledger/service.py:
--   SR002 limit exceeded    SR004 unbalanced    SR005 key conflict
--   SR003 hold not open, or held money moved without its hold
-- A balance below zero is refused by the table's own check (23514, balance_floor).
--
-- Locks are taken in one order everywhere: transaction keys, holds, limit counters, accounts, each
-- in order of its key, and the end of the hash chain last, so that no two postings deadlock. For the
-- same reason a unit of work posts once, and decisions and policies are sealed at its commit.

INSERT INTO audit_chain (sequence, kind, reference, content_hash, hash)
VALUES (0, 'genesis', '', repeat('0', 64), repeat('0', 64));

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', tg_table_name USING ERRCODE = 'SR009';
END $$;

-- What a link of the hash chain covers of a ledger transaction: every stored field of it. Fields are
-- written as JSON, so that no text can be cut at another place and still give the same hash.
CREATE FUNCTION ledger_content(first_id bigint, last_id bigint)
RETURNS TABLE (id bigint, reference text, content_hash text) LANGUAGE sql STABLE AS $$
    SELECT t.id, t.key, encode(sha256(convert_to(
        jsonb_build_array(t.id, t.key, t.rule, t.resource, t.reverses, t.content_hash,
                          extract(epoch FROM t.effective_at),
                          extract(epoch FROM t.recorded_at), e.lines)::text,
        'UTF8')), 'hex')
    FROM ledger_transaction t
    JOIN LATERAL (
        SELECT jsonb_agg(
            jsonb_build_array(l.id, l.account_id, a.code, l.asset, l.amount_minor,
                              l.balance_after_minor, l.account_version,
                              extract(epoch FROM l.effective_at))
            ORDER BY l.id) AS lines
        FROM ledger_entry l JOIN ledger_account a ON a.id = l.account_id
        WHERE l.transaction_id = t.id
    ) e ON true
    WHERE t.id BETWEEN first_id AND last_id
$$;

CREATE FUNCTION decision_content(d approval_decision) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        jsonb_build_array(d.id, d.payout_id, d.approver_id, d.decision, d.policy_version,
                          d.payout_hash, d.second_factor, d.note,
                          extract(epoch FROM d.decided_at))::text,
        'UTF8')), 'hex')
$$;

CREATE FUNCTION policy_content(p policy) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        jsonb_build_array(p.version, p.document, p.created_by,
                          extract(epoch FROM p.created_at))::text,
        'UTF8')), 'hex')
$$;

-- Links are appended under one lock that is held until commit: the chain has no gaps and no forks.
CREATE FUNCTION audit_append(kinds text[], refs text[], contents text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    last_sequence bigint;
    last_hash text;
    hashes text[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(7309);
    SELECT sequence, hash INTO STRICT last_sequence, last_hash
    FROM audit_chain ORDER BY sequence DESC LIMIT 1;
    FOR i IN 1 .. cardinality(contents) LOOP
        last_hash := encode(sha256(convert_to(last_hash || contents[i], 'UTF8')), 'hex');
        hashes := hashes || last_hash;
    END LOOP;
    INSERT INTO audit_chain (sequence, kind, reference, content_hash, hash)
    SELECT last_sequence + n, k, r, c, h
    FROM unnest(kinds, refs, contents, hashes) WITH ORDINALITY AS link (k, r, c, h, n);
END $$;

CREATE FUNCTION audit_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM audit_append(ARRAY['decision'], ARRAY[new.id], ARRAY[decision_content(new)]);
    RETURN NULL;
END $$;

CREATE FUNCTION audit_policy() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM audit_append(ARRAY['policy'], ARRAY[new.version::text], ARRAY[policy_content(new)]);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER decision_audited AFTER INSERT ON approval_decision
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_decision();
CREATE CONSTRAINT TRIGGER policy_audited AFTER INSERT ON policy
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_policy();

CREATE FUNCTION ledger_end_holds(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    asked integer;
    ended integer;
BEGIN
    SELECT count(*) INTO asked
    FROM jsonb_array_elements(posted) p WHERE p -> 'hold' ->> 'op' <> 'place';
    IF asked = 0 THEN RETURN; END IF;

    PERFORM 1 FROM hold WHERE id IN (
        SELECT p -> 'hold' ->> 'id' FROM jsonb_array_elements(posted) p
        WHERE p -> 'hold' ->> 'op' <> 'place'
    ) ORDER BY id FOR UPDATE;

    PERFORM 1 FROM limit_counter c
    WHERE (c.subject, c.name, c.window_start) IN (
        SELECT h.owner, l ->> 'name', (l ->> 'window_start')::timestamptz
        FROM jsonb_array_elements(posted) p
        JOIN hold h ON h.id = p -> 'hold' ->> 'id', jsonb_array_elements(h.limits) l
        WHERE p -> 'hold' ->> 'op' IN ('release', 'expire'))
    ORDER BY c.subject, c.name, c.window_start FOR UPDATE;

    WITH ask AS (
        SELECT p -> 'hold' ->> 'id' AS id, p -> 'hold' ->> 'op' AS op,
               coalesce((p -> 'hold' ->> 'amount')::numeric, 0) AS amount
        FROM jsonb_array_elements(posted) p WHERE p -> 'hold' ->> 'op' <> 'place'
    ), done AS (
        UPDATE hold h SET
            status = CASE ask.op WHEN 'capture' THEN 'captured'
                                 WHEN 'release' THEN 'released' ELSE 'expired' END,
            captured_minor = CASE ask.op WHEN 'capture' THEN ask.amount ELSE 0 END,
            ended_at = clock_timestamp()
        FROM ask
        WHERE h.id = ask.id AND h.status = 'placed' AND ask.amount <= h.amount_minor
        RETURNING h.id, h.owner, h.limits, ask.op
    ), given_back AS (
        UPDATE limit_counter c
        SET amount_minor = c.amount_minor - g.amount, count = c.count - g.times
        FROM (
            SELECT d.owner, l ->> 'name' AS name, (l ->> 'window_start')::timestamptz AS window_start,
                   sum((l ->> 'amount')::numeric) AS amount, count(*)::integer AS times
            FROM done d, jsonb_array_elements(d.limits) l
            WHERE d.op <> 'capture' GROUP BY 1, 2, 3
        ) g
        WHERE c.subject = g.owner AND c.name = g.name AND c.window_start = g.window_start
    )
    SELECT count(*) INTO ended FROM done;

    IF ended <> asked THEN
        RAISE EXCEPTION 'hold is not open, or covers less than is captured' USING ERRCODE = 'SR003';
    END IF;
END $$;

CREATE FUNCTION ledger_place_holds(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
               sum((l ->> 'amount')::numeric), count(*)
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

-- Held money moves with its hold and not otherwise: placing takes the amount from available, ending
-- empties the hold, and what is not captured goes back to available.
CREATE FUNCTION ledger_check_holds(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
                (':held', CASE p -> 'hold' ->> 'op'
                    WHEN 'place' THEN h.amount_minor ELSE -h.amount_minor END),
                (':available', CASE p -> 'hold' ->> 'op'
                    WHEN 'place' THEN -h.amount_minor ELSE h.amount_minor - h.captured_minor END)
            ) side (name, amount)
            WHERE side.amount <> 0
        ) due USING (id, code, asset)
        WHERE moved.amount IS DISTINCT FROM due.amount
    ) THEN
        RAISE EXCEPTION 'held money moves only with its hold' USING ERRCODE = 'SR003';
    END IF;
END $$;

CREATE FUNCTION ledger_post_entries(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM jsonb_array_elements(posted) p, jsonb_array_elements(p -> 'entries') e
        GROUP BY p ->> 'id', e ->> 1
        HAVING sum((e ->> 2)::numeric) <> 0 OR count(*) < 2
            OR bool_or((e ->> 2)::numeric = 0)
    ) OR EXISTS (
        SELECT 1 FROM jsonb_array_elements(posted) p WHERE jsonb_array_length(p -> 'entries') = 0
    ) THEN
        RAISE EXCEPTION 'entries do not sum to zero per asset' USING ERRCODE = 'SR004';
    END IF;

    INSERT INTO ledger_account (code, asset, normal_side, balance_minor, is_floored, version)
    SELECT DISTINCT e ->> 0, e ->> 1,
           CASE WHEN e ->> 0 ~ '^(omnibus|fees:network)' THEN 'debit' ELSE 'credit' END,
           0, e ->> 0 LIKE 'user:%', 0
    FROM jsonb_array_elements(posted) p, jsonb_array_elements(p -> 'entries') e
    WHERE NOT EXISTS (
        SELECT 1 FROM ledger_account a WHERE a.code = e ->> 0 AND a.asset = e ->> 1)
    ORDER BY 1, 2
    ON CONFLICT (code, asset) DO NOTHING;

    PERFORM 1 FROM ledger_account a
    WHERE (a.code, a.asset) IN (
        SELECT e ->> 0, e ->> 1
        FROM jsonb_array_elements(posted) p, jsonb_array_elements(p -> 'entries') e)
    ORDER BY a.id FOR UPDATE;

    WITH line AS (
        SELECT (p.value ->> 'id')::bigint AS transaction_id,
               (p.value ->> 'effective_at')::timestamptz AS effective_at,
               a.id AS account_id, a.asset, a.balance_minor, a.version,
               (e.value ->> 2)::numeric AS amount,
               row_number() OVER (ORDER BY p.ordinality, e.ordinality) AS place
        FROM jsonb_array_elements(posted) WITH ORDINALITY p,
             jsonb_array_elements(p.value -> 'entries') WITH ORDINALITY e
        JOIN ledger_account a ON a.code = e.value ->> 0 AND a.asset = e.value ->> 1
    ), written AS (
        INSERT INTO ledger_entry (transaction_id, account_id, asset, amount_minor,
                                  balance_after_minor, account_version, effective_at)
        SELECT transaction_id, account_id, asset, amount,
               balance_minor + sum(amount) OVER (PARTITION BY account_id ORDER BY place),
               version + row_number() OVER (PARTITION BY account_id ORDER BY place),
               effective_at
        FROM line ORDER BY place
    )
    UPDATE ledger_account a
    SET balance_minor = a.balance_minor + s.amount, version = a.version + s.entries
    FROM (SELECT account_id, sum(amount) AS amount, count(*) AS entries
          FROM line GROUP BY account_id) s
    WHERE a.id = s.account_id;
END $$;

-- Posts a JSON array of postings, all or none:
--   [{key, rule, resource, reverses, effective_at, entries: [[code, asset, amount], …], hold}]
-- with hold = {op: place|capture|release|expire, id, owner, asset, amount, expires_at, limits}.
-- A posting whose key is known, or stands before it in the array, and says the same is skipped.
-- Returns [{key, id, is_new}] in the order of the postings.
CREATE FUNCTION ledger_post(postings jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    posted jsonb;
    first_id bigint;
    last_id bigint;
    fresh bigint;
BEGIN
    WITH asked AS (
        SELECT DISTINCT ON (p.value ->> 'key') p.value AS p, p.ordinality AS place,
               encode(sha256(convert_to((p.value - 'effective_at')::text, 'UTF8')), 'hex') AS content
        FROM jsonb_array_elements(postings) WITH ORDINALITY p
        ORDER BY p.value ->> 'key', p.ordinality
    ), inserted AS (
        INSERT INTO ledger_transaction (key, rule, resource, reverses, content_hash, effective_at,
                                        recorded_at)
        SELECT p ->> 'key', p ->> 'rule', p ->> 'resource', (p ->> 'reverses')::bigint, content,
               (p ->> 'effective_at')::timestamptz, clock_timestamp()
        FROM asked ORDER BY p ->> 'key'
        ON CONFLICT (key) DO NOTHING
        RETURNING id, key
    )
    SELECT jsonb_agg(a.p || jsonb_build_object('id', i.id) ORDER BY a.place),
           min(i.id), max(i.id), count(*)
    INTO posted, first_id, last_id, fresh
    FROM inserted i JOIN asked a ON a.p ->> 'key' = i.key;

    IF fresh <> jsonb_array_length(postings) AND EXISTS (
        SELECT 1 FROM jsonb_array_elements(postings) p
        JOIN ledger_transaction t ON t.key = p ->> 'key'
        WHERE t.content_hash <>
              encode(sha256(convert_to((p - 'effective_at')::text, 'UTF8')), 'hex')
    ) THEN
        RAISE EXCEPTION 'a key was used before for another posting' USING ERRCODE = 'SR005';
    END IF;

    IF fresh > 0 THEN
        PERFORM ledger_end_holds(posted);
        PERFORM ledger_place_holds(posted);
        PERFORM ledger_check_holds(posted);
        PERFORM ledger_post_entries(posted);
        PERFORM audit_append(array_agg('ledger'::text ORDER BY c.id),
                             array_agg(c.reference ORDER BY c.id),
                             array_agg(c.content_hash ORDER BY c.id))
        FROM ledger_content(first_id, last_id) c
        WHERE c.id IN (SELECT (p ->> 'id')::bigint FROM jsonb_array_elements(posted) p);
    END IF;

    RETURN (
        SELECT jsonb_agg(jsonb_build_object(
            'key', t.key, 'id', t.id,
            'is_new', coalesce(t.id IN (
                SELECT (q ->> 'id')::bigint FROM jsonb_array_elements(posted) q), false))
            ORDER BY p.ordinality)
        FROM jsonb_array_elements(postings) WITH ORDINALITY p
        JOIN ledger_transaction t ON t.key = p.value ->> 'key');
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_transaction
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON approval_decision
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_event
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON policy
    EXECUTE FUNCTION append_only();

-- Until an owner writes a policy, every payout needs two approvers.
INSERT INTO policy (document, created_at)
VALUES ('{"rules": [], "fallback_approvals": 2, "approval_expires_s": 86400, "limits": []}', now());
-- Sealed now, so that a later migration finds no pending trigger.
SET CONSTRAINTS ALL IMMEDIATE;
