-- Once bytes exist for a chain transaction, what it pays and its account nonce stand for ever, and its
-- payout belongs to it. Otherwise whoever may write these tables could have one payout signed again
-- with another nonce, and so paid twice.

CREATE FUNCTION keep_signed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_table_name = 'chain_attempt' OR EXISTS (
        SELECT 1 FROM chain_attempt a
        WHERE a.raw IS NOT NULL AND a.chain_transaction_id =
            CASE tg_table_name WHEN 'payout' THEN to_jsonb(old) ->> 'chain_transaction_id'
                               ELSE to_jsonb(old) ->> 'id' END
    ) THEN
        RAISE EXCEPTION '% is signed and does not change', tg_table_name USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_signed BEFORE UPDATE ON chain_attempt FOR EACH ROW
    WHEN (old.raw IS NOT NULL AND
          (old.id, old.chain_transaction_id, old.sequence, old.raw, old.txid, old.signed_at,
           old.max_fee_minor, old.priority_fee_minor) IS DISTINCT FROM
          (new.id, new.chain_transaction_id, new.sequence, new.raw, new.txid, new.signed_at,
           new.max_fee_minor, new.priority_fee_minor))
    EXECUTE FUNCTION keep_signed();

CREATE TRIGGER keep_signed_from_deletion BEFORE DELETE ON chain_attempt FOR EACH ROW
    WHEN (old.raw IS NOT NULL) EXECUTE FUNCTION keep_signed();

CREATE TRIGGER keep_signed
    BEFORE UPDATE OF id, batch_id, chain_id, wallet_address, kind, asset, destination,
        amount_minor, gas_limit, account_nonce ON chain_transaction FOR EACH ROW
    WHEN ((old.id, old.batch_id, old.chain_id, old.wallet_address, old.kind, old.asset,
           old.destination, old.amount_minor, old.gas_limit, old.account_nonce) IS DISTINCT FROM
          (new.id, new.batch_id, new.chain_id, new.wallet_address, new.kind, new.asset,
           new.destination, new.amount_minor, new.gas_limit, new.account_nonce))
    EXECUTE FUNCTION keep_signed();

CREATE TRIGGER keep_signed
    BEFORE UPDATE OF id, user_id, asset, chain_id, amount_minor, fee_minor, destination, hold_id,
        chain_transaction_id ON payout FOR EACH ROW
    WHEN ((old.id, old.user_id, old.asset, old.chain_id, old.amount_minor, old.fee_minor,
           old.destination, old.hold_id, old.chain_transaction_id) IS DISTINCT FROM
          (new.id, new.user_id, new.asset, new.chain_id, new.amount_minor, new.fee_minor,
           new.destination, new.hold_id, new.chain_transaction_id))
    EXECUTE FUNCTION keep_signed();

REVOKE EXECUTE ON FUNCTION keep_signed() FROM PUBLIC;
