-- Pockets: users' own wallets on a chain. What lies there is on accounts of its own, and held there.

CREATE OR REPLACE FUNCTION ledger_place_holds(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    passed text;
BEGIN
    INSERT INTO hold (id, owner, asset, pocket, amount_minor, captured_minor, status, expires_at,
                      limits, placed_at)
    SELECT p -> 'hold' ->> 'id', p -> 'hold' ->> 'owner', p -> 'hold' ->> 'asset',
           p -> 'hold' ->> 'pocket', (p -> 'hold' ->> 'amount')::numeric, 0, 'placed',
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
            WHERE e ->> 0 ~ '^user:[^:]+:(held$|onchain_held:)'
               OR (e ->> 0 LIKE 'user:%' AND p -> 'hold' ->> 'op' IS NOT NULL)
            GROUP BY 1, 2, 3
        ) moved
        FULL JOIN (
            SELECT p ->> 'id' AS id, 'user:' || h.owner || side.name AS code, h.asset, side.amount
            FROM jsonb_array_elements(posted) p
            JOIN hold h ON h.id = p -> 'hold' ->> 'id',
            LATERAL (VALUES
                (coalesce(':onchain_held:' || h.pocket, ':held'), CASE
                    WHEN p -> 'hold' ->> 'op' IN ('capture_part', 'release_part')
                        THEN -(p -> 'hold' ->> 'amount')::numeric
                    WHEN p -> 'hold' ->> 'op' = 'place' THEN h.amount_minor
                    ELSE -h.amount_minor END),
                (coalesce(':onchain:' || h.pocket, ':available'), CASE p -> 'hold' ->> 'op'
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

-- Where a balance may go below zero: what was credited is taken back by its chain, or by whoever
-- had paid for it. What is on a pocket mirrors the chain, whatever that takes back.
CREATE FUNCTION ledger_is_clawback(rule text, code text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT rule IN ('deposit_reversal', 'purchase_clawback', 'pocket_fix')
       AND code ~ '^user:[^:]+:(available$|onchain:)'
$$;

CREATE OR REPLACE FUNCTION ledger_post_entries(posted jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
           CASE WHEN e ->> 0 ~ '^(omnibus|fees:network|gateway|mint)' THEN 'debit' ELSE 'credit' END,
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
               ledger_is_clawback(p.value ->> 'rule', a.code) AS is_clawback,
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
    SET balance_minor = a.balance_minor + s.amount, version = a.version + s.entries,
        floor_minor = CASE
            WHEN s.is_clawback THEN least(a.floor_minor, a.balance_minor + s.amount)
            ELSE least(0, greatest(a.floor_minor, a.balance_minor + s.amount)) END
    FROM (SELECT account_id, sum(amount) AS amount, count(*) AS entries,
                 bool_or(is_clawback) AS is_clawback
          FROM line GROUP BY account_id) s
    WHERE a.id = s.account_id;
END $$;

-- Whose pocket it is, and that it is one, is said once and for all.
CREATE FUNCTION keep_purpose() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what an address is for does not change' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_purpose BEFORE UPDATE OF id, chain_id, address, branch, index, user_id, purpose
    ON chain_address FOR EACH ROW
    WHEN ((old.id, old.chain_id, old.address, old.branch, old.index, old.user_id, old.purpose)
          IS DISTINCT FROM
          (new.id, new.chain_id, new.address, new.branch, new.index, new.user_id, new.purpose))
    EXECUTE FUNCTION keep_purpose();
ALTER TABLE chain_address ADD CONSTRAINT pocket_owner
    CHECK (purpose = 'deposit' OR purpose = 'pocket' AND branch = 0 AND user_id IS NOT NULL);

-- Between what a payout moves money is part of what was approved.
CREATE FUNCTION keep_route() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the route of a payout does not change' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_route BEFORE UPDATE OF route, pocket_id, gas_hold_id ON payout FOR EACH ROW
    WHEN (old.route <> new.route
          OR (old.pocket_id IS NOT NULL AND old.pocket_id IS DISTINCT FROM new.pocket_id)
          OR old.gas_hold_id IS DISTINCT FROM new.gas_hold_id)
    EXECUTE FUNCTION keep_route();
CREATE TRIGGER keep_signed_route BEFORE UPDATE OF pocket_id, gas_max_minor ON payout FOR EACH ROW
    WHEN ((old.pocket_id, old.gas_max_minor) IS DISTINCT FROM (new.pocket_id, new.gas_max_minor))
    EXECUTE FUNCTION keep_signed();
ALTER TABLE payout ADD CONSTRAINT payout_route CHECK (
    route = 'payout' AND pocket_id IS NULL AND gas_hold_id IS NULL
    OR route IN ('fund', 'redeem', 'send') AND run_id IS NULL);

-- Transfers to and from pockets, for whoever reads them apart from other payouts.
CREATE VIEW pocket_transfer AS
    SELECT id, user_id, route, status, reason_code, asset, chain_id, amount_minor, fee_minor,
           network_fee_minor, arrived_booked_minor AS arrived_minor, pocket_id, destination, note,
           hold_id, gas_hold_id, chain_transaction_id, created_at, updated_at
    FROM payout WHERE route <> 'payout';
CREATE VIEW pocket_transfer_event AS
    SELECT e.id, e.payout_id AS pocket_transfer_id, e.status, e.detail, e.at
    FROM payout_event e JOIN payout p ON p.id = e.payout_id WHERE p.route <> 'payout';

-- The worker makes a user's pocket when the first transfer to it is approved.
GRANT UPDATE (next_external_index) ON hd_account TO strongroom_worker;
GRANT SELECT ON pocket_transfer, pocket_transfer_event TO strongroom_api, strongroom_worker;
REVOKE EXECUTE ON FUNCTION ledger_is_clawback(text, text), keep_purpose(), keep_route() FROM PUBLIC;
