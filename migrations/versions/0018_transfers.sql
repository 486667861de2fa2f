-- Transfers between users. The API may post nothing but this: one function of the schema's owner, which
-- moves one amount from one customer's available balance to another's, and which believes nobody.
--
-- SQLSTATE SR010: refused; DETAIL is the stable code of domain.errors, the message is for the caller.

-- Permits. The API checks second factors, and the database cannot. So the API proves each transfer to it
-- with an HMAC (RFC 2104) under a key derived from its data keys, which are not in the database: the
-- role's password alone moves nobody's money. The first key registers while there is none; a further one
-- needs the word of one before it.
CREATE FUNCTION permit_holds(used_key text, permit bytea, content text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(bool_or(
        permit = sha256(k.outer_pad || sha256(k.inner_pad || convert_to(content, 'UTF8')))), false)
    FROM permit_key k WHERE k.key_id = used_key
$$;

CREATE FUNCTION permit_key_register(new_id text, new_inner bytea, new_outer bytea,
                                    sponsor text, sponsor_permit bytea)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    known permit_key;
BEGIN
    PERFORM pg_advisory_xact_lock(7310);
    SELECT * INTO known FROM permit_key k WHERE k.key_id = new_id;
    IF FOUND THEN
        RETURN known.inner_pad = new_inner AND known.outer_pad = new_outer;
    END IF;
    IF EXISTS (SELECT 1 FROM permit_key) AND NOT permit_holds(
        sponsor, sponsor_permit,
        concat_ws(chr(31), 'permit_key', new_id, encode(new_inner, 'hex'), encode(new_outer, 'hex'))
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO permit_key (key_id, inner_pad, outer_pad, registered_at)
    VALUES (new_id, new_inner, new_outer, clock_timestamp());
    RETURN true;
END $$;

-- What a permit says. No part can hold the separator: asset and parties must exist, and ids and digests
-- are of our own making.
CREATE FUNCTION transfer_content(t transfer) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws(chr(31), 'transfer', t.id, t.user_id, t.recipient_id, t.asset, t.amount_minor,
                     coalesce(t.money_request_id, ''), t.request_hash, t.second_factor)
$$;

-- The only posting that makes this transfer; ``ledger.rules.user_transfer`` builds the same.
CREATE FUNCTION transfer_posting(t transfer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'key', t.id || ':transfer', 'rule', 'user_transfer', 'resource', t.id,
        'reverses', NULL, 'hold', NULL,
        'entries', jsonb_build_array(
            jsonb_build_array('user:' || t.user_id || ':available', t.asset, (-t.amount_minor)::text),
            jsonb_build_array('user:' || t.recipient_id || ':available', t.asset,
                              t.amount_minor::text)))
$$;

CREATE FUNCTION transfer_refusal(t transfer) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN t.user_id = t.recipient_id THEN 'own_transfer'
        -- 2^256 - 1, as everywhere.
        WHEN t.amount_minor NOT BETWEEN 1 AND
            115792089237316195423570985008687907853269984665640564039457584007913129639935
            THEN 'invalid_amount'
        WHEN NOT EXISTS (SELECT 1 FROM asset a WHERE a.code = t.asset AND a.enabled)
            THEN 'unknown_asset'
        WHEN NOT EXISTS (SELECT 1 FROM app_user u WHERE u.id = t.user_id AND u.disabled_at IS NULL)
            THEN 'session_invalid'
        WHEN NOT EXISTS (
            SELECT 1 FROM second_factor s WHERE s.user_id = t.user_id AND s.enabled_at IS NOT NULL)
            THEN 'second_factor_not_enabled'
        -- A frozen recipient may be paid: the freeze is on what leaves, and this covers their debt.
        WHEN EXISTS (SELECT 1 FROM user_freeze f WHERE f.user_id = t.user_id AND f.lifted_at IS NULL)
            THEN 'wallet_frozen'
        WHEN NOT EXISTS (
            SELECT 1 FROM app_user u WHERE u.id = t.recipient_id AND u.disabled_at IS NULL)
            THEN 'recipient_not_found'
    END
$$;

-- Locks the money request, so that the second of two payers sees what the first one did.
CREATE FUNCTION money_request_refusal(t transfer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r money_request;
BEGIN
    SELECT * INTO r FROM money_request WHERE id = t.money_request_id FOR UPDATE;
    RETURN CASE
        WHEN r.id IS NULL OR r.user_id <> t.recipient_id OR r.payer_id <> t.user_id
            THEN 'money_request_not_found'
        WHEN r.status <> 'open' OR r.expires_at <= t.created_at THEN 'money_request_state'
        WHEN r.asset <> t.asset OR r.amount_minor <> t.amount_minor THEN 'money_request_mismatch'
    END;
END $$;

-- Makes one transfer: its row, its history, its posting, and the money request that it fulfils.
-- The ledger comes last: from there on the end of the hash chain is locked until the commit.
CREATE FUNCTION transfer_make(asked jsonb, posting jsonb, permit_key_id text, permit bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    t transfer := jsonb_populate_record(NULL::transfer, asked);
    refusal text;
BEGIN
    IF NOT permit_holds(permit_key_id, permit, transfer_content(t)) THEN
        refusal := 'permit_refused';
    ELSIF posting - 'effective_at' IS DISTINCT FROM transfer_posting(t) THEN
        refusal := 'invariant_violated';
    ELSIF NOT EXISTS (
        SELECT 1 FROM limit_usage u
        WHERE u.resource_id = t.id AND u.operation = 'send' AND u.user_id = t.user_id
          AND u.asset = t.asset AND u.amount_minor = t.amount_minor AND u.times = 1
    ) THEN
        refusal := 'invariant_violated';
    ELSE
        refusal := transfer_refusal(t);
        IF refusal IS NULL AND t.money_request_id IS NOT NULL THEN
            refusal := money_request_refusal(t);
        END IF;
    END IF;
    IF refusal IS NOT NULL THEN
        RAISE EXCEPTION 'transfer refused: %', refusal USING ERRCODE = 'SR010', DETAIL = refusal;
    END IF;

    INSERT INTO transfer (id, user_id, recipient_id, principal, idempotency_key, request_hash, asset,
                          amount_minor, fee_minor, note, sender_handle, recipient_handle,
                          money_request_id, second_factor, status, created_at, updated_at)
    VALUES (t.id, t.user_id, t.recipient_id, t.principal, t.idempotency_key, t.request_hash, t.asset,
            t.amount_minor, 0, t.note, t.sender_handle, t.recipient_handle,
            t.money_request_id, t.second_factor, 'completed', t.created_at, t.created_at);
    INSERT INTO transfer_event (transfer_id, status, at) VALUES (t.id, 'completed', t.created_at);
    UPDATE money_request SET status = 'paid', updated_at = t.created_at WHERE id = t.money_request_id;
    PERFORM ledger_post(jsonb_build_array(posting));
END $$;

-- A money request is open once, ends once, and is paid only by the transfer that names it.
CREATE FUNCTION keep_money_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' AND new.status = 'open' OR tg_op = 'UPDATE'
        AND old.status = 'open'
        AND to_jsonb(new) - '{status,updated_at}'::text[] = to_jsonb(old) - '{status,updated_at}'::text[]
        AND (new.status IN ('declined', 'cancelled') OR new.status = 'paid' AND EXISTS (
            SELECT 1 FROM transfer t WHERE t.money_request_id = new.id))
    THEN
        RETURN new;
    END IF;
    RAISE EXCEPTION 'a money request changes only by ending once' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_money_request BEFORE INSERT OR UPDATE ON money_request FOR EACH ROW
    EXECUTE FUNCTION keep_money_request();

-- The API counts transfers against limits. It gives nothing back, and touches no other operation.
CREATE FUNCTION keep_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'strongroom_api' THEN
        RAISE EXCEPTION 'permission denied: the API reserves limits of transfers alone'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_usage BEFORE INSERT ON limit_usage FOR EACH ROW
    WHEN (new.operation <> 'send' OR new.hold_id IS NOT NULL OR new.amount_minor < 0 OR new.times < 1)
    EXECUTE FUNCTION keep_usage();

-- A handle goes to somebody else a year after it was given up, and not before.
CREATE FUNCTION keep_handle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a handle is kept for a year' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_handle BEFORE UPDATE ON user_handle FOR EACH ROW
    WHEN (new.name <> old.name OR new.user_id <> old.user_id
          AND (old.released_at IS NULL OR new.claimed_at < old.released_at + interval '365 days'))
    EXECUTE FUNCTION keep_handle();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer_event
    EXECUTE FUNCTION append_only();

REVOKE EXECUTE ON FUNCTION permit_holds(text, bytea, text),
    permit_key_register(text, bytea, bytea, text, bytea), transfer_content(transfer),
    transfer_posting(transfer), transfer_refusal(transfer), money_request_refusal(transfer),
    transfer_make(jsonb, jsonb, text, bytea), keep_money_request(), keep_usage(),
    keep_handle() FROM PUBLIC;

GRANT SELECT ON transfer, transfer_event, money_request, user_handle
    TO strongroom_api, strongroom_worker, strongroom_signer;
GRANT EXECUTE ON FUNCTION transfer_make(jsonb, jsonb, text, bytea),
    permit_key_register(text, bytea, bytea, text, bytea) TO strongroom_api;
GRANT INSERT ON limit_usage, limit_lock TO strongroom_api;
GRANT UPDATE (reservations) ON limit_lock TO strongroom_api;
GRANT USAGE ON SEQUENCE limit_usage_id_seq TO strongroom_api;
GRANT INSERT, UPDATE (status, updated_at) ON money_request TO strongroom_api;
GRANT INSERT, UPDATE (shown, user_id, claimed_at, released_at) ON user_handle TO strongroom_api;
GRANT SELECT, INSERT, UPDATE (busy_until) ON lookup_throttle TO strongroom_api;
