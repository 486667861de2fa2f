-- Mixing. What comes to a mix's address is owed to the mix, and leaves as payouts of its user.
CREATE TABLE mixer (
    id varchar PRIMARY KEY,
    name varchar(100) NOT NULL,
    chain_id varchar NOT NULL REFERENCES chain,
    asset varchar NOT NULL REFERENCES asset,
    policy jsonb NOT NULL,
    task_queue varchar NOT NULL,
    status varchar NOT NULL,
    checked_at timestamptz,
    imbalance_minor numeric(78) NOT NULL DEFAULT 0,
    created_by varchar,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT mixer_status CHECK (status IN ('active', 'draining', 'removed'))
);

CREATE TABLE mix (
    id varchar PRIMARY KEY,
    user_id varchar NOT NULL REFERENCES app_user,
    principal varchar NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    request_hash varchar NOT NULL,
    mixer_id varchar NOT NULL REFERENCES mixer,
    chain_id varchar NOT NULL REFERENCES chain,
    asset varchar NOT NULL REFERENCES asset,
    address_id varchar NOT NULL UNIQUE REFERENCES chain_address,
    policy jsonb NOT NULL,
    parts_asked integer NOT NULL CHECK (parts_asked >= 1),
    status varchar NOT NULL,
    reason_code varchar,
    expires_at timestamptz NOT NULL,
    is_cancelled boolean NOT NULL DEFAULT false,
    paused_at timestamptz,
    hold_kind varchar,
    held_at timestamptz,
    held_by varchar,
    received_minor numeric(78) NOT NULL DEFAULT 0,
    fee_minor numeric(78) NOT NULL DEFAULT 0,
    doled_minor numeric(78) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT mix_idempotency UNIQUE (principal, idempotency_key),
    -- However deposits come and go: never more leaves than came in and is no fee, unless the chain
    -- took back what had left already.
    CONSTRAINT mix_amounts CHECK (received_minor >= 0 AND fee_minor >= 0 AND doled_minor >= 0),
    CONSTRAINT mix_hold CHECK ((hold_kind IS NULL) = (held_at IS NULL))
);
CREATE INDEX mix_list ON mix (created_at, id);
CREATE INDEX mix_of_user ON mix (user_id, created_at, id);
CREATE INDEX mix_of_mixer ON mix (mixer_id, status);

CREATE TABLE mix_address (
    chain_id varchar NOT NULL REFERENCES chain,
    address_hash varchar NOT NULL,
    mix_id varchar NOT NULL REFERENCES mix,
    address varchar,
    PRIMARY KEY (chain_id, address_hash)
);
CREATE INDEX ix_mix_address_mix_id ON mix_address (mix_id);

CREATE TABLE mix_lot (
    deposit_id varchar PRIMARY KEY REFERENCES chain_deposit,
    mix_id varchar NOT NULL REFERENCES mix,
    amount_minor numeric(78) NOT NULL CHECK (amount_minor > 0),
    fee_minor numeric(78) NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    status varchar NOT NULL,
    reason_code varchar,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX ix_mix_lot_mix_id ON mix_lot (mix_id);

CREATE TABLE mix_dole (
    id varchar PRIMARY KEY,
    mix_id varchar NOT NULL REFERENCES mix,
    deposit_id varchar NOT NULL REFERENCES mix_lot,
    amount_minor numeric(78) NOT NULL CHECK (amount_minor > 0),
    due_at timestamptz NOT NULL,
    address varchar,
    status varchar NOT NULL,
    payout_id varchar UNIQUE REFERENCES payout,
    created_at timestamptz NOT NULL,
    CONSTRAINT mix_dole_payout CHECK ((status = 'released') = (payout_id IS NOT NULL))
);
CREATE INDEX ix_mix_dole_deposit_id ON mix_dole (deposit_id);
CREATE INDEX mix_dole_due ON mix_dole (mix_id, due_at) WHERE status = 'planned';
CREATE INDEX mix_dole_of_mix ON mix_dole (mix_id, due_at, id);

CREATE TABLE mix_event (
    id serial PRIMARY KEY,
    mix_id varchar NOT NULL REFERENCES mix,
    status varchar NOT NULL,
    detail varchar,
    at timestamptz NOT NULL
);
CREATE INDEX ix_mix_event_mix_id ON mix_event (mix_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON mix_event
    EXECUTE FUNCTION append_only();

CREATE TABLE mix_audit (
    id varchar PRIMARY KEY,
    mix_id varchar NOT NULL REFERENCES mix,
    sealed bytea NOT NULL,
    keep_until timestamptz NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX ix_mix_audit_mix_id ON mix_audit (mix_id);
CREATE INDEX ix_mix_audit_keep_until ON mix_audit (keep_until);

ALTER TABLE payout ADD COLUMN mix_id varchar REFERENCES mix;
CREATE INDEX payout_of_mix ON payout (mix_id) WHERE mix_id IS NOT NULL;
ALTER TABLE payout ADD CONSTRAINT payout_of_one CHECK (
    mix_id IS NULL OR run_id IS NULL AND route = 'payout');

-- What was agreed on, and what was drawn, does not change: a dole-out is written once, leaves once,
-- and goes where it was to go.
CREATE FUNCTION keep_mix() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the terms of a mix do not change' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_mix BEFORE UPDATE ON mix FOR EACH ROW
    WHEN ((old.id, old.user_id, old.principal, old.idempotency_key, old.request_hash, old.mixer_id,
           old.chain_id, old.asset, old.address_id, old.policy, old.parts_asked, old.expires_at,
           old.created_at)
          IS DISTINCT FROM
          (new.id, new.user_id, new.principal, new.idempotency_key, new.request_hash, new.mixer_id,
           new.chain_id, new.asset, new.address_id, new.policy, new.parts_asked, new.expires_at,
           new.created_at)
          OR old.is_cancelled AND NOT new.is_cancelled)
    EXECUTE FUNCTION keep_mix();
CREATE TRIGGER keep_mix_dole BEFORE UPDATE ON mix_dole FOR EACH ROW
    WHEN ((old.id, old.mix_id, old.deposit_id, old.amount_minor, old.created_at)
          IS DISTINCT FROM (new.id, new.mix_id, new.deposit_id, new.amount_minor, new.created_at)
          OR new.address IS NOT NULL AND old.address IS DISTINCT FROM new.address
          OR old.status <> 'planned' AND (old.status, old.payout_id, old.due_at)
             IS DISTINCT FROM (new.status, new.payout_id, new.due_at)
          OR old.payout_id IS NOT NULL AND old.payout_id IS DISTINCT FROM new.payout_id)
    EXECUTE FUNCTION keep_mix();
CREATE TRIGGER keep_mix_payout BEFORE UPDATE OF mix_id ON payout FOR EACH ROW
    WHEN (old.mix_id IS DISTINCT FROM new.mix_id) EXECUTE FUNCTION keep_mix();

-- A payout for a mix is a dole-out of it, planned there: as much, to there, and once.
CREATE FUNCTION keep_to_dole() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM mix_dole d JOIN mix m ON m.id = d.mix_id
    WHERE d.id = new.idempotency_key AND d.mix_id = new.mix_id AND d.status = 'planned'
        AND (d.amount_minor, d.address, m.user_id, m.asset, m.chain_id, 0::numeric) =
            (new.amount_minor, new.destination, new.user_id, new.asset, new.chain_id,
             new.fee_minor);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a payout for a mix is one of its dole-outs' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_to_dole BEFORE INSERT ON payout FOR EACH ROW WHEN (new.mix_id IS NOT NULL)
    EXECUTE FUNCTION keep_to_dole();

-- The audit trail is kept for as long as was said when it was written.
CREATE FUNCTION keep_mix_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'DELETE' AND old.keep_until <= now()
       AND NOT EXISTS (SELECT FROM mix m WHERE m.id = old.mix_id AND m.hold_kind IS NOT NULL) THEN
        RETURN old;
    END IF;
    RAISE EXCEPTION 'the audit trail of a mix is kept' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_mix_audit BEFORE UPDATE OR DELETE ON mix_audit FOR EACH ROW
    EXECUTE FUNCTION keep_mix_audit();

CREATE OR REPLACE FUNCTION ledger_is_clawback(rule text, code text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT rule IN ('deposit_reversal', 'purchase_clawback', 'pocket_fix', 'mix_clawback')
       AND code ~ '^user:[^:]+:(available$|onchain:)'
        OR rule = 'pocket_fix' AND code = 'conversions:stock'
$$;

REVOKE EXECUTE ON FUNCTION keep_mix(), keep_to_dole(), keep_mix_audit() FROM PUBLIC;

GRANT SELECT ON mixer, mix, mix_address, mix_lot, mix_dole, mix_event, mix_audit
    TO strongroom_api, strongroom_worker;
GRANT INSERT, UPDATE (name, policy, status, updated_at) ON mixer TO strongroom_api;
-- Locked while mixes are opened, and marked by the check of its books.
GRANT UPDATE (checked_at, imbalance_minor, updated_at) ON mixer TO strongroom_worker;

GRANT INSERT, UPDATE (status, reason_code, is_cancelled, paused_at, hold_kind, held_at, held_by,
                      received_minor, fee_minor, doled_minor, updated_at)
    ON mix TO strongroom_worker;
GRANT INSERT, UPDATE (address) ON mix_address TO strongroom_worker;
GRANT INSERT, UPDATE (status, reason_code, updated_at) ON mix_lot TO strongroom_worker;
GRANT INSERT, UPDATE (status, payout_id, due_at, address) ON mix_dole TO strongroom_worker;
GRANT INSERT ON mix_event TO strongroom_worker;
GRANT USAGE ON SEQUENCE mix_event_id_seq TO strongroom_worker;
GRANT INSERT, DELETE ON mix_audit TO strongroom_worker;
