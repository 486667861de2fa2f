-- A line that is started is the line that was uploaded. Whoever starts runs cannot write uploads, so
-- it cannot put a large payment into a draft whose small total asked nobody for approval.
CREATE OR REPLACE FUNCTION keep_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        PERFORM 1
        FROM payout_run r JOIN payout_run_line l ON l.run_id = r.id AND l.number = new.line_number
        WHERE r.id = new.run_id AND r.status = 'draft'
          AND (new.id, new.amount_minor, new.destination)
              = (l.payout_id, l.amount_minor, l.destination)
          AND (new.user_id, new.asset, new.chain_id) = (r.user_id, r.asset, r.chain_id)
          AND new.fee_minor * r.line_count = r.fee_total_minor AND NOT new.is_captured
        FOR UPDATE OF r;
        IF FOUND THEN RETURN new; END IF;
    END IF;
    RAISE EXCEPTION 'a line of a started run does not change' USING ERRCODE = 'SR009';
END $$;

-- What was settled before was settled as the chain said it then.
UPDATE chain_transaction SET failed_booked = failed_places WHERE settled_at IS NOT NULL;

-- Payouts that screening denied are marked, so that choosing a batch need not look at them again.
-- Whatever may change what screening says takes the marks away. The lock is the one that markers
-- share: each sees what the other did.
CREATE FUNCTION forget_denials() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    said record := CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
BEGIN
    PERFORM pg_advisory_xact_lock(7314);
    UPDATE payout p SET is_denied = false
    WHERE p.chain_id = said.chain_id AND p.destination = said.address AND p.is_denied;
    RETURN NULL;
END $$;

CREATE TRIGGER forget_denials AFTER INSERT OR UPDATE OR DELETE ON address_screening FOR EACH ROW
    EXECUTE FUNCTION forget_denials();
CREATE TRIGGER forget_denials AFTER UPDATE ON screening_answer FOR EACH ROW
    WHEN (old.verdict IS DISTINCT FROM new.verdict) EXECUTE FUNCTION forget_denials();
CREATE TRIGGER forget_denials_too AFTER DELETE ON screening_answer FOR EACH ROW
    EXECUTE FUNCTION forget_denials();
REVOKE EXECUTE ON FUNCTION forget_denials() FROM PUBLIC;
