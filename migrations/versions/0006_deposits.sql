-- A customer's balance may go below zero in one case only: the chain took a deposit back that was
-- credited, and the customer has spent it. The account's floor follows it down, and up again with
-- every credit, so that nothing but another reversal can take the balance any lower.
ALTER TABLE ledger_account DROP CONSTRAINT balance_floor;
ALTER TABLE ledger_account ADD CONSTRAINT balance_floor
    CHECK (NOT is_floored OR balance_minor >= floor_minor);

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
               p.value ->> 'rule' = 'deposit_reversal' AND a.code LIKE 'user:%:available'
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

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON chain_deposit_event
    EXECUTE FUNCTION append_only();

-- A coin belongs to the chain transaction that spends it once that is signed. Otherwise whoever may
-- write these tables could have a replacement signed that spends other coins, and so pay twice.
CREATE FUNCTION keep_locked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM chain_attempt a
               WHERE a.raw IS NOT NULL
                 AND a.chain_transaction_id IN (old.locked_by, new.locked_by)) THEN
        RAISE EXCEPTION 'a coin of a signed transaction does not change' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_locked
    BEFORE UPDATE OF chain_id, txid, output_index, address_id, amount_minor, locked_by
    ON utxo FOR EACH ROW
    WHEN ((old.chain_id, old.txid, old.output_index, old.address_id, old.amount_minor,
           old.locked_by) IS DISTINCT FROM
          (new.chain_id, new.txid, new.output_index, new.address_id, new.amount_minor,
           new.locked_by))
    EXECUTE FUNCTION keep_locked();

CREATE FUNCTION keep_new_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM chain_attempt a
               WHERE a.raw IS NOT NULL AND a.chain_transaction_id = new.locked_by) THEN
        RAISE EXCEPTION 'a signed transaction takes no further coin' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_new_lock BEFORE INSERT ON utxo FOR EACH ROW
    WHEN (new.locked_by IS NOT NULL) EXECUTE FUNCTION keep_new_lock();

DROP TRIGGER keep_signed ON chain_attempt;
CREATE TRIGGER keep_signed BEFORE UPDATE ON chain_attempt FOR EACH ROW
    WHEN (old.raw IS NOT NULL AND
          (old.id, old.chain_transaction_id, old.sequence, old.raw, old.txid, old.signed_at,
           old.max_fee_minor, old.priority_fee_minor, old.change_minor, old.fee_minor)
          IS DISTINCT FROM
          (new.id, new.chain_transaction_id, new.sequence, new.raw, new.txid, new.signed_at,
           new.max_fee_minor, new.priority_fee_minor, new.change_minor, new.fee_minor))
    EXECUTE FUNCTION keep_signed();

DROP TRIGGER keep_signed ON chain_transaction;
CREATE TRIGGER keep_signed
    BEFORE UPDATE OF id, batch_id, chain_id, wallet_address, kind, asset, destination,
        amount_minor, change_address, parent_id, gas_limit, account_nonce
    ON chain_transaction FOR EACH ROW
    WHEN ((old.id, old.batch_id, old.chain_id, old.wallet_address, old.kind, old.asset,
           old.destination, old.amount_minor, old.change_address, old.parent_id, old.gas_limit,
           old.account_nonce) IS DISTINCT FROM
          (new.id, new.batch_id, new.chain_id, new.wallet_address, new.kind, new.asset,
           new.destination, new.amount_minor, new.change_address, new.parent_id, new.gas_limit,
           new.account_nonce))
    EXECUTE FUNCTION keep_signed();

REVOKE EXECUTE ON FUNCTION keep_locked(), keep_new_lock() FROM PUBLIC;

-- Everybody reads what came in; nobody but the signer reads a seed.
GRANT SELECT ON chain_address, chain_deposit, chain_deposit_event, user_freeze, utxo, rescan
    TO strongroom_api, strongroom_worker, strongroom_signer;
GRANT SELECT (chain_id, path, xpub, fingerprint, next_external_index, next_internal_index,
              created_at)
    ON hd_account TO strongroom_api, strongroom_worker, strongroom_signer;

-- The API hands out addresses, asks for rescans, and lifts freezes for operators.
GRANT INSERT, UPDATE (label) ON chain_address TO strongroom_api;
GRANT UPDATE (next_external_index) ON hd_account TO strongroom_api;
GRANT INSERT ON rescan TO strongroom_api;
GRANT UPDATE (lifted_at, lifted_by) ON user_freeze TO strongroom_api;

GRANT INSERT, UPDATE (next_account_nonce) ON chain_address TO strongroom_worker;
GRANT UPDATE (next_internal_index) ON hd_account TO strongroom_worker;
GRANT INSERT, UPDATE ON chain_deposit, utxo TO strongroom_worker;
GRANT INSERT ON chain_deposit_event TO strongroom_worker;
GRANT USAGE ON SEQUENCE chain_deposit_event_id_seq TO strongroom_worker;
GRANT INSERT, UPDATE (lifted_at) ON user_freeze TO strongroom_worker;
GRANT UPDATE (next_height, found, finished_at) ON rescan TO strongroom_worker;

GRANT SELECT, INSERT, UPDATE ON hd_account TO strongroom_signer;
GRANT INSERT ON chain_address TO strongroom_signer;
