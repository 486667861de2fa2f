-- Conversions on the way to and from pockets. What we give lies ready, and cannot fall below zero:
-- nobody's money backs another's conversion.

-- A quote says what it is for; those there are were given for purchases.
ALTER TABLE quote ADD COLUMN purpose varchar NOT NULL DEFAULT 'purchase';
ALTER TABLE quote ADD CONSTRAINT quote_purpose CHECK (purpose IN ('purchase', 'conversion'));

CREATE OR REPLACE FUNCTION keep_to_quote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM quote q
    WHERE q.id = new.quote_id
        AND (q.user_id, q.pay_asset, q.pay_minor, q.buy_asset, q.buy_minor, q.spread_minor) =
            (new.user_id, new.pay_asset, new.pay_minor, new.asset, new.amount_minor, new.fee_minor)
        AND q.purpose = 'purchase';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a purchase says what its quote says' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

-- What a transfer converts: of its quote, which does not change either.
ALTER TABLE payout ADD COLUMN quote_id varchar REFERENCES quote;
ALTER TABLE payout ADD CONSTRAINT payout_conversion CHECK (
    quote_id IS NULL OR route IN ('fund', 'redeem'));
CREATE TRIGGER keep_quote BEFORE UPDATE OF quote_id ON payout FOR EACH ROW
    WHEN (old.quote_id IS DISTINCT FROM new.quote_id)
    EXECUTE FUNCTION keep_route();

CREATE TABLE pocket_conversion (
    payout_id varchar PRIMARY KEY REFERENCES payout,
    -- A quote converts once, whatever becomes of the transfer.
    quote_id varchar NOT NULL UNIQUE REFERENCES quote,
    fee_minor numeric(78) NOT NULL CHECK (fee_minor >= 0),
    settle_until timestamptz NOT NULL,
    late_tolerance_bps integer NOT NULL,
    is_converted boolean,
    rate_numerator numeric(78),
    rate_denominator numeric(78),
    created_at timestamptz NOT NULL
);

-- A conversion is of its transfer's own quote, given to the same user for the very same amounts.
CREATE FUNCTION keep_conversion_to_quote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM quote q JOIN payout p ON p.id = new.payout_id
    WHERE q.id = new.quote_id AND p.quote_id = q.id AND q.user_id = p.user_id
        AND q.purpose = 'conversion' AND p.fee_minor = 0
        AND (p.asset, p.amount_minor) = CASE p.route
            WHEN 'fund' THEN (q.buy_asset, q.buy_minor) ELSE (q.pay_asset, q.pay_minor) END;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a conversion says what its quote says' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER keep_conversion_to_quote BEFORE INSERT ON pocket_conversion FOR EACH ROW
    EXECUTE FUNCTION keep_conversion_to_quote();

-- Whether what came late is converted, and at which rate, is decided once.
CREATE FUNCTION keep_conversion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was decided of a conversion does not change' USING ERRCODE = 'SR009';
END $$;
CREATE TRIGGER keep_conversion BEFORE UPDATE ON pocket_conversion FOR EACH ROW
    WHEN (old.is_converted IS NOT NULL
          OR (old.payout_id, old.quote_id, old.fee_minor, old.settle_until, old.late_tolerance_bps,
              old.created_at)
             IS DISTINCT FROM
             (new.payout_id, new.quote_id, new.fee_minor, new.settle_until, new.late_tolerance_bps,
              new.created_at))
    EXECUTE FUNCTION keep_conversion();

-- What we convert into is ours: neither what lies ready nor what is promised falls below zero.
CREATE FUNCTION ledger_is_floored(code text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT code LIKE 'user:%' OR code IN ('conversions:stock', 'conversions:reserved')
$$;

-- A chain that takes a settled transfer back may have paid others with the same stock by then.
CREATE OR REPLACE FUNCTION ledger_is_clawback(rule text, code text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT rule IN ('deposit_reversal', 'purchase_clawback', 'pocket_fix')
       AND code ~ '^user:[^:]+:(available$|onchain:)'
        OR rule = 'pocket_fix' AND code = 'conversions:stock'
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
           0, ledger_is_floored(e ->> 0), 0
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

-- What a transfer converts is told as what leaves and what arrives.
CREATE OR REPLACE VIEW wallet_transaction AS
    SELECT p.id, p.user_id,
           CASE p.route WHEN 'payout' THEN 'payout' WHEN 'send' THEN 'onchain_send'
                ELSE 'pocket_transfer' END AS kind,
           CASE WHEN p.route IN ('fund', 'redeem') THEN 'own' ELSE 'out' END AS direction,
           p.status,
           CASE WHEN p.status = 'settled' THEN 'done'
                WHEN p.status IN ('awaiting_approval', 'ready', 'batched') THEN 'pending'
                ELSE 'failed' END AS state,
           coalesce(q.pay_asset, p.asset) AS asset,
           coalesce(q.pay_minor, p.amount_minor) AS amount_minor,
           coalesce(c.fee_minor, p.fee_minor) AS fee_minor,
           CASE WHEN p.route NOT IN ('fund', 'redeem') THEN p.destination END AS counterparty,
           p.chain_id,
           coalesce(p.run_id, p.quote_id) AS group_id, p.note, p.chain_transaction_id,
           NULL::text AS txid,
           p.created_at, p.updated_at,
           q.buy_asset AS to_asset, q.buy_minor AS to_amount_minor
    FROM payout p
    LEFT JOIN quote q ON q.id = p.quote_id
    LEFT JOIN pocket_conversion c ON c.payout_id = p.id
UNION ALL
    SELECT d.id, d.user_id, 'deposit', 'in', d.status,
           CASE WHEN d.status = 'credited' AND d.reason_code IS NULL THEN 'done'
                WHEN d.status IN ('seen', 'confirming') THEN 'pending'
                ELSE 'failed' END,
           d.asset, d.amount_minor, 0::numeric, a.address, d.chain_id,
           m.purchase_id, NULL, d.swept_by, d.txid,
           d.seen_at, d.updated_at, NULL, NULL
    FROM chain_deposit d
    JOIN chain_address a ON a.id = d.address_id
    LEFT JOIN purchase_payment m ON m.deposit_id = d.id
    WHERE d.asset IS NOT NULL
UNION ALL
    SELECT t.id, t.user_id, 'transfer', 'out', t.status, 'done',
           t.asset, t.amount_minor, t.fee_minor, coalesce('@' || t.recipient_handle, t.recipient_id),
           NULL, t.money_request_id, t.note, NULL, NULL,
           t.created_at, t.updated_at, NULL, NULL
    FROM transfer t
UNION ALL
    SELECT t.id, t.recipient_id, 'transfer', 'in', t.status, 'done',
           t.asset, t.amount_minor, t.fee_minor, coalesce('@' || t.sender_handle, t.user_id),
           NULL, t.money_request_id, t.note, NULL, NULL,
           t.created_at, t.updated_at, NULL, NULL
    FROM transfer t
UNION ALL
    -- What was bought of what was asked for; until something is, what was asked for.
    SELECT b.id, b.user_id, 'purchase', 'in', b.status,
           CASE WHEN b.status IN ('completed', 'underpaid') THEN 'done'
                WHEN b.status IN ('awaiting_payment', 'confirming', 'partially_paid') THEN 'pending'
                ELSE 'failed' END,
           b.asset, CASE WHEN b.credited_minor > 0 THEN b.credited_minor ELSE b.amount_minor END,
           b.fee_minor, coalesce(a.address, b.method), a.chain_id,
           b.quote_id, NULL, NULL, NULL,
           b.created_at, b.updated_at, NULL, NULL
    FROM purchase b LEFT JOIN chain_address a ON a.id = b.address_id;

-- The API looks; the worker converts; the signer makes sure of what it is that it pays.
GRANT SELECT ON pocket_conversion TO strongroom_api, strongroom_worker, strongroom_signer;
GRANT SELECT ON quote TO strongroom_signer;
GRANT INSERT, UPDATE (is_converted, rate_numerator, rate_denominator) ON pocket_conversion
    TO strongroom_worker;
REVOKE EXECUTE ON FUNCTION keep_conversion(), keep_conversion_to_quote(), ledger_is_floored(text)
    FROM PUBLIC;
