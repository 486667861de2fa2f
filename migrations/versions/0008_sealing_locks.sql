-- What the signer is about to sign is not visible before it commits. It holds the chain transaction's
-- row meanwhile, so these guards wait for that row before they look whether there are bytes.

CREATE OR REPLACE FUNCTION keep_signed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    row_id text := CASE tg_table_name WHEN 'payout' THEN to_jsonb(old) ->> 'chain_transaction_id'
                                      ELSE to_jsonb(old) ->> 'id' END;
BEGIN
    IF tg_table_name = 'payout' THEN
        PERFORM 1 FROM chain_transaction t WHERE t.id = row_id FOR SHARE;
    END IF;
    IF tg_table_name = 'chain_attempt' OR EXISTS (
        SELECT 1 FROM chain_attempt a WHERE a.raw IS NOT NULL AND a.chain_transaction_id = row_id
    ) THEN
        RAISE EXCEPTION '% is signed and does not change', tg_table_name USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE OR REPLACE FUNCTION keep_locked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM chain_transaction t WHERE t.id IN (old.locked_by, new.locked_by)
    ORDER BY t.id FOR SHARE;
    IF EXISTS (SELECT 1 FROM chain_attempt a
               WHERE a.raw IS NOT NULL
                 AND a.chain_transaction_id IN (old.locked_by, new.locked_by)) THEN
        RAISE EXCEPTION 'a coin of a signed transaction does not change' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE OR REPLACE FUNCTION keep_new_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM chain_transaction t WHERE t.id = new.locked_by FOR SHARE;
    IF EXISTS (SELECT 1 FROM chain_attempt a
               WHERE a.raw IS NOT NULL AND a.chain_transaction_id = new.locked_by) THEN
        RAISE EXCEPTION 'a signed transaction takes no further coin' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

-- One outpoint, one row: a txid in capitals would be the same coin with another amount.
ALTER TABLE utxo ADD CONSTRAINT utxo_outpoint
    CHECK (txid ~ '^[0-9a-f]{64}$' AND output_index >= 0);
