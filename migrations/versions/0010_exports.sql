-- A transaction that was handed out to be signed elsewhere is as good as signed: whoever has it can
-- broadcast it at any time. Everything that guards signed ones guards it too.
ALTER TABLE chain_attempt ADD COLUMN exported_at timestamptz;

CREATE FUNCTION is_sealed(transaction_id text) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT 1 FROM chain_attempt a WHERE a.chain_transaction_id = transaction_id
            AND (a.raw IS NOT NULL OR a.exported_at IS NOT NULL))
$$;

CREATE OR REPLACE FUNCTION keep_signed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    row_id text := CASE tg_table_name WHEN 'payout' THEN to_jsonb(old) ->> 'chain_transaction_id'
                                      ELSE to_jsonb(old) ->> 'id' END;
BEGIN
    IF tg_table_name = 'payout' THEN
        PERFORM 1 FROM chain_transaction t WHERE t.id = row_id FOR SHARE;
    END IF;
    IF tg_table_name = 'chain_attempt' OR is_sealed(row_id) THEN
        RAISE EXCEPTION '% is signed and does not change', tg_table_name USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

DROP TRIGGER keep_signed ON chain_attempt;
CREATE TRIGGER keep_signed BEFORE UPDATE ON chain_attempt FOR EACH ROW
    WHEN (old.raw IS NOT NULL AND
          (old.id, old.chain_transaction_id, old.sequence, old.raw, old.txid, old.signed_at,
           old.exported_at, old.max_fee_minor, old.priority_fee_minor, old.change_minor,
           old.fee_minor)
          IS DISTINCT FROM
          (new.id, new.chain_transaction_id, new.sequence, new.raw, new.txid, new.signed_at,
           new.exported_at, new.max_fee_minor, new.priority_fee_minor, new.change_minor,
           new.fee_minor))
    EXECUTE FUNCTION keep_signed();

-- Its signature may still be brought back, and nothing else.
CREATE TRIGGER keep_exported BEFORE UPDATE ON chain_attempt FOR EACH ROW
    WHEN (old.exported_at IS NOT NULL AND
          (old.id, old.chain_transaction_id, old.sequence, old.txid, old.exported_at,
           old.max_fee_minor, old.priority_fee_minor, old.change_minor, old.fee_minor)
          IS DISTINCT FROM
          (new.id, new.chain_transaction_id, new.sequence, new.txid, new.exported_at,
           new.max_fee_minor, new.priority_fee_minor, new.change_minor, new.fee_minor))
    EXECUTE FUNCTION keep_signed();

DROP TRIGGER keep_signed_from_deletion ON chain_attempt;
CREATE TRIGGER keep_signed_from_deletion BEFORE DELETE ON chain_attempt FOR EACH ROW
    WHEN (old.raw IS NOT NULL OR old.exported_at IS NOT NULL) EXECUTE FUNCTION keep_signed();

-- Settlement and fee children believe bytes and txids, so nobody brings any along: the signer adds
-- them to what was planned.
CREATE FUNCTION come_unsigned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an attempt is planned before it is signed' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER come_unsigned BEFORE INSERT ON chain_attempt FOR EACH ROW
    WHEN (new.raw IS NOT NULL OR new.txid IS NOT NULL OR new.signed_at IS NOT NULL
          OR new.exported_at IS NOT NULL)
    EXECUTE FUNCTION come_unsigned();

REVOKE UPDATE ON chain_attempt FROM strongroom_worker;
GRANT UPDATE (max_fee_minor, priority_fee_minor, change_minor, fee_minor, broadcast_at, last_error)
    ON chain_attempt TO strongroom_worker;
GRANT UPDATE (exported_at) ON chain_attempt TO strongroom_signer;
GRANT SELECT (exported_at) ON chain_attempt TO strongroom_api;

-- What a coin's own transaction spends, and what spends one of those instead after a reorg.
ALTER TABLE utxo ADD COLUMN parent_spends varchar[], ADD COLUMN rival_txid varchar,
    ADD COLUMN rival_block_hash varchar;

-- The transaction, deep enough to count, because of which another can never be mined; null while it
-- may be. It spends a coin of it, or what one of its coins, now in no block, was itself made of.
CREATE FUNCTION void_by(transaction_id text) RETURNS text LANGUAGE sql STABLE AS $$
    WITH RECURSIVE settled AS (
        SELECT c.id AS chain_id, h.height - c.confirmations_min + 1 AS height
        FROM chain_transaction t
        JOIN chain c ON c.id = t.chain_id
        JOIN chain_head h ON h.chain_id = c.id
        WHERE t.id = transaction_id
    ), coin AS (
        SELECT u.*, true AS is_input FROM utxo u WHERE u.locked_by = transaction_id
        UNION
        SELECT u.*, false
        FROM coin c
        CROSS JOIN unnest(c.parent_spends) AS o (outpoint)
        JOIN utxo u ON u.chain_id = c.chain_id AND u.txid = split_part(o.outpoint, ':', 1)
            AND u.output_index = split_part(o.outpoint, ':', 2)::integer
        WHERE c.block_hash IS NULL
    ), rival AS (
        SELECT c.rival_txid AS txid, c.rival_block_hash AS block_hash
        FROM coin c WHERE c.block_hash IS NULL AND c.rival_txid IS NOT NULL
        UNION ALL
        SELECT c.spent_txid, c.spent_block_hash
        FROM coin c
        WHERE c.is_input AND c.spent_txid IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM chain_attempt a
            WHERE a.chain_transaction_id = transaction_id AND a.txid = c.spent_txid)
        UNION ALL
        -- A child is nothing without its parent, which had bytes and was given up all the same.
        SELECT p.id, NULL
        FROM chain_transaction t JOIN chain_transaction p ON p.id = t.parent_id
        WHERE t.id = transaction_id AND t.kind = 'fee_child'
            AND p.status IN ('abandoned', 'reverted')
    )
    SELECT min(r.txid) FROM rival r CROSS JOIN settled s
    WHERE NOT EXISTS (
        SELECT 1 FROM chain_block b
        WHERE b.chain_id = s.chain_id AND b.height > s.height AND b.hash = r.block_hash)
$$;

CREATE FUNCTION keep_alive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_sealed(old.id) AND void_by(old.id) IS NULL THEN
        RAISE EXCEPTION 'a signed transaction that may be mined is not given up'
            USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_alive BEFORE UPDATE OF status ON chain_transaction FOR EACH ROW
    WHEN (new.status IS DISTINCT FROM old.status
          AND (new.status = 'abandoned'
               -- With coins it always does what it says; with an account it may do nothing.
               OR new.status = 'reverted' AND new.chain_id LIKE 'bip122:%'))
    EXECUTE FUNCTION keep_alive();

-- The coins of a signed transaction that was given up are free again. It never gets any back, so a
-- replacement of it could spend nothing that its first attempt did not.
CREATE OR REPLACE FUNCTION keep_locked() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_given_up boolean;
BEGIN
    PERFORM 1 FROM chain_transaction t WHERE t.id IN (old.locked_by, new.locked_by)
    ORDER BY t.id FOR SHARE;
    is_given_up := new.locked_by IS NULL
        AND (old.chain_id, old.txid, old.output_index, old.address_id, old.amount_minor)
            IS NOT DISTINCT FROM
            (new.chain_id, new.txid, new.output_index, new.address_id, new.amount_minor)
        AND EXISTS (SELECT 1 FROM chain_transaction t
                    WHERE t.id = old.locked_by AND t.status IN ('abandoned', 'reverted'));
    IF is_sealed(new.locked_by) OR (is_sealed(old.locked_by) AND NOT is_given_up) THEN
        RAISE EXCEPTION 'a coin of a signed transaction does not change' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE OR REPLACE FUNCTION keep_new_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM chain_transaction t WHERE t.id = new.locked_by FOR SHARE;
    IF is_sealed(new.locked_by) THEN
        RAISE EXCEPTION 'a signed transaction takes no further coin' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

-- The API hands out addresses. One of our own change, written before its time, would stand in the
-- way of the next payout.
CREATE FUNCTION keep_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'strongroom_api' THEN
        RAISE EXCEPTION 'permission denied: the API hands out addresses of branch 0 alone'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_change BEFORE INSERT ON chain_address FOR EACH ROW
    WHEN (new.branch <> 0) EXECUTE FUNCTION keep_change();

REVOKE EXECUTE ON FUNCTION is_sealed(text), void_by(text), come_unsigned(), keep_alive(),
    keep_change() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_sealed(text), void_by(text) TO strongroom_worker, strongroom_signer;
