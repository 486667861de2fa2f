-- Assets that are on no chain: issued in our books, or money at a payment gateway.
ALTER TABLE asset ALTER COLUMN chain_id DROP NOT NULL;
ALTER TABLE asset DROP CONSTRAINT asset_kind;
ALTER TABLE asset ADD CONSTRAINT asset_kind
    CHECK ((kind = 'erc20') = (contract_address IS NOT NULL));
ALTER TABLE asset ADD CONSTRAINT asset_on_chain
    CHECK ((kind IN ('internal', 'fiat')) = (chain_id IS NULL));

-- A balance may go below zero in a second case: what was bought is taken back because the payment
-- was, by its chain or by the card network. What is issued, and what a gateway owes us, count as
-- what we own do: with a minus.
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
               p.value ->> 'rule' IN ('deposit_reversal', 'purchase_clawback')
                   AND a.code LIKE 'user:%:available'
                   AS is_clawback,
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
