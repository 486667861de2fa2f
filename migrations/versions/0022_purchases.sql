-- Rates, quotes and purchases.
CREATE TABLE rate_table (
    version serial PRIMARY KEY,
    document jsonb NOT NULL,
    created_by varchar,
    created_at timestamptz NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON rate_table
    EXECUTE FUNCTION append_only();

CREATE TABLE rate_observation (
    source varchar NOT NULL,
    symbol varchar NOT NULL,
    price_numerator numeric(78) NOT NULL CHECK (price_numerator > 0),
    price_denominator numeric(78) NOT NULL CHECK (price_denominator > 0),
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (source, symbol)
);

CREATE TABLE quote (
    id varchar PRIMARY KEY,
    user_id varchar NOT NULL REFERENCES app_user,
    pay_asset varchar NOT NULL REFERENCES asset,
    pay_minor numeric(78) NOT NULL,
    buy_asset varchar NOT NULL REFERENCES asset,
    buy_minor numeric(78) NOT NULL,
    rate_numerator numeric(78) NOT NULL,
    rate_denominator numeric(78) NOT NULL,
    spread_bps integer NOT NULL,
    spread_minor numeric(78) NOT NULL,
    rate_source varchar NOT NULL,
    rate_version integer NOT NULL REFERENCES rate_table,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT quote_amounts CHECK (pay_minor > 0 AND buy_minor > 0),
    CONSTRAINT quote_rounding CHECK (buy_minor * rate_denominator <= pay_minor * rate_numerator)
);
CREATE INDEX quote_of_user ON quote (user_id, created_at, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON quote
    EXECUTE FUNCTION append_only();

CREATE TABLE purchase (
    id varchar PRIMARY KEY,
    user_id varchar NOT NULL REFERENCES app_user,
    principal varchar NOT NULL,
    idempotency_key varchar(255) NOT NULL,
    request_hash varchar NOT NULL,
    quote_id varchar NOT NULL REFERENCES quote,
    method varchar NOT NULL,
    pay_asset varchar NOT NULL REFERENCES asset,
    pay_minor numeric(78) NOT NULL,
    asset varchar NOT NULL REFERENCES asset,
    amount_minor numeric(78) NOT NULL,
    fee_minor numeric(78) NOT NULL,
    status varchar NOT NULL,
    reason_code varchar,
    address_id varchar UNIQUE REFERENCES chain_address,
    expires_at timestamptz NOT NULL,
    settle_until timestamptz NOT NULL,
    late_tolerance_bps integer NOT NULL,
    cash_minor numeric(78) NOT NULL,
    rest_minor numeric(78) NOT NULL,
    converted_minor numeric(78) NOT NULL,
    credited_minor numeric(78) NOT NULL,
    refunded_minor numeric(78) NOT NULL,
    postings integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT purchase_idempotency UNIQUE (principal, idempotency_key),
    -- However its payments came and went: never more than was quoted, never less than nothing.
    CONSTRAINT purchase_credited CHECK (credited_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT purchase_position CHECK (converted_minor >= 0 AND rest_minor >= 0)
);
CREATE UNIQUE INDEX purchase_of_quote ON purchase (quote_id) WHERE status <> 'refused';
CREATE INDEX purchase_list ON purchase (created_at, id);
CREATE INDEX purchase_of_user ON purchase (user_id, created_at, id);

CREATE TABLE purchase_event (
    id serial PRIMARY KEY,
    purchase_id varchar NOT NULL REFERENCES purchase,
    status varchar NOT NULL,
    detail varchar,
    at timestamptz NOT NULL
);
CREATE INDEX ix_purchase_event_purchase_id ON purchase_event (purchase_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON purchase_event
    EXECUTE FUNCTION append_only();

CREATE TABLE purchase_payment (
    deposit_id varchar PRIMARY KEY REFERENCES chain_deposit,
    purchase_id varchar NOT NULL REFERENCES purchase,
    amount_minor numeric(78) NOT NULL,
    is_late boolean NOT NULL,
    is_booked boolean NOT NULL,
    converted_minor numeric(78) NOT NULL,
    rate_numerator numeric(78),
    rate_denominator numeric(78),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX ix_purchase_payment_purchase_id ON purchase_payment (purchase_id);

CREATE TABLE purchase_refund (
    id varchar PRIMARY KEY,
    purchase_id varchar NOT NULL REFERENCES purchase,
    amount_minor numeric(78) NOT NULL CHECK (amount_minor > 0),
    reason varchar NOT NULL,
    status varchar NOT NULL,
    gateway_id varchar UNIQUE,
    requested_by varchar REFERENCES app_user,
    note varchar(500),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX ix_purchase_refund_purchase_id ON purchase_refund (purchase_id);

CREATE TABLE card_payment (
    purchase_id varchar PRIMARY KEY REFERENCES purchase,
    intent_id varchar UNIQUE,
    status varchar NOT NULL,
    received_minor numeric(78) NOT NULL,
    refunded_minor numeric(78) NOT NULL,
    disputed_minor numeric(78) NOT NULL,
    paid_at timestamptz,
    is_late boolean,
    is_converted boolean,
    rate_numerator numeric(78),
    rate_denominator numeric(78),
    asked integer NOT NULL,
    answered integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE card_secret (
    purchase_id varchar PRIMARY KEY REFERENCES purchase,
    client_secret varchar NOT NULL
);

CREATE TABLE gateway_event (
    id varchar PRIMARY KEY,
    kind varchar NOT NULL,
    object_id varchar NOT NULL,
    received_at timestamptz NOT NULL,
    handled_at timestamptz,
    purchase_id varchar REFERENCES purchase
);

ALTER TABLE user_freeze ADD COLUMN purchase_id varchar REFERENCES purchase;

-- What was agreed on does not change: only where the purchase stands.
CREATE FUNCTION keep_purchase() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the terms of a purchase do not change' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_purchase BEFORE UPDATE ON purchase FOR EACH ROW
    WHEN ((old.id, old.user_id, old.principal, old.idempotency_key, old.request_hash, old.quote_id,
           old.method, old.pay_asset, old.pay_minor, old.asset, old.amount_minor, old.fee_minor,
           old.address_id, old.expires_at, old.settle_until, old.late_tolerance_bps, old.created_at)
          IS DISTINCT FROM
          (new.id, new.user_id, new.principal, new.idempotency_key, new.request_hash, new.quote_id,
           new.method, new.pay_asset, new.pay_minor, new.asset, new.amount_minor, new.fee_minor,
           new.address_id, new.expires_at, new.settle_until, new.late_tolerance_bps,
           new.created_at))
    EXECUTE FUNCTION keep_purchase();

-- A purchase is what its quote said: whoever opens it invents no terms.
CREATE FUNCTION keep_to_quote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM quote q
    WHERE q.id = new.quote_id
        AND (q.user_id, q.pay_asset, q.pay_minor, q.buy_asset, q.buy_minor, q.spread_minor) =
            (new.user_id, new.pay_asset, new.pay_minor, new.asset, new.amount_minor, new.fee_minor);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a purchase says what its quote says' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_to_quote BEFORE INSERT ON purchase FOR EACH ROW
    EXECUTE FUNCTION keep_to_quote();

REVOKE EXECUTE ON FUNCTION keep_purchase(), keep_to_quote() FROM PUBLIC;

GRANT SELECT ON rate_table, rate_observation, quote, purchase, purchase_event, purchase_payment,
    purchase_refund, card_payment, gateway_event TO strongroom_api, strongroom_worker;
GRANT INSERT ON rate_table, quote, gateway_event TO strongroom_api;
GRANT USAGE ON SEQUENCE rate_table_version_seq TO strongroom_api;
-- What a browser pays with: written by the worker, read by the API alone.
GRANT SELECT ON card_secret TO strongroom_api;
GRANT INSERT, DELETE, SELECT (purchase_id) ON card_secret TO strongroom_worker;

GRANT INSERT, UPDATE ON rate_observation, purchase_payment, card_payment TO strongroom_worker;
GRANT INSERT, UPDATE (status, reason_code, cash_minor, rest_minor, converted_minor, credited_minor,
                      refunded_minor, postings, updated_at)
    ON purchase TO strongroom_worker;
GRANT INSERT ON purchase_event TO strongroom_worker;
GRANT USAGE ON SEQUENCE purchase_event_id_seq TO strongroom_worker;
GRANT INSERT, UPDATE (status, gateway_id, updated_at) ON purchase_refund TO strongroom_worker;
GRANT UPDATE (handled_at, purchase_id) ON gateway_event TO strongroom_worker;
-- A purchase gets an address of its own.
GRANT UPDATE (next_external_index) ON hd_account TO strongroom_worker;
