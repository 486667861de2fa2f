-- A Jobcoin network's chain, as its node keeps it. Nobody else reads these tables: whoever wants to
-- know asks the node, as one asks the node of any chain.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'strongroom_jobcoin') THEN
        CREATE ROLE strongroom_jobcoin LOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO strongroom_jobcoin;

CREATE TABLE jobcoin_block (
    height bigint PRIMARY KEY,
    hash varchar NOT NULL UNIQUE,
    -- One block follows each: there are no branches.
    parent_hash varchar NOT NULL UNIQUE,
    mined_at timestamptz NOT NULL,
    CONSTRAINT jobcoin_height CHECK (height >= 0)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON jobcoin_block
    EXECUTE FUNCTION append_only();

CREATE TABLE jobcoin_transaction (
    txid varchar PRIMARY KEY,
    kind varchar NOT NULL,
    sender varchar,
    account_nonce bigint,
    raw bytea,
    reference varchar UNIQUE,
    amount_minor numeric(78) NOT NULL,
    arrival bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    received_at timestamptz NOT NULL,
    block_height bigint REFERENCES jobcoin_block,
    place integer,
    CONSTRAINT jobcoin_nonce UNIQUE (sender, account_nonce),
    CONSTRAINT jobcoin_place UNIQUE (block_height, place),
    CONSTRAINT jobcoin_kind CHECK (kind IN ('transfer', 'mint', 'reward')),
    CONSTRAINT jobcoin_sender CHECK (
        (kind = 'transfer') = (sender IS NOT NULL)
        AND (sender IS NULL) = (account_nonce IS NULL) AND (sender IS NULL) = (raw IS NULL)
        AND (kind = 'mint') = (reference IS NOT NULL)),
    CONSTRAINT jobcoin_amount CHECK (amount_minor >= 0),
    CONSTRAINT jobcoin_mined CHECK ((block_height IS NULL) = (place IS NULL))
);
CREATE INDEX jobcoin_pool ON jobcoin_transaction (arrival) WHERE block_height IS NULL;

CREATE TABLE jobcoin_output (
    txid varchar NOT NULL REFERENCES jobcoin_transaction,
    place integer NOT NULL,
    address varchar NOT NULL,
    amount_minor numeric(78) NOT NULL,
    PRIMARY KEY (txid, place),
    CONSTRAINT jobcoin_output_amount CHECK (amount_minor >= 0)
);
CREATE INDEX jobcoin_output_of_address ON jobcoin_output (address);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON jobcoin_output
    EXECUTE FUNCTION append_only();

-- What all mined transactions come to.
CREATE TABLE jobcoin_account (
    address varchar PRIMARY KEY,
    balance_minor numeric(78) NOT NULL,
    next_nonce bigint NOT NULL,
    CONSTRAINT jobcoin_balance CHECK (balance_minor >= 0),
    CONSTRAINT jobcoin_next_nonce CHECK (next_nonce >= 0)
);

CREATE TABLE jobcoin_supply (
    chain_id varchar PRIMARY KEY,
    minted_minor numeric(78) NOT NULL,
    cap_minor numeric(78) NOT NULL,
    CONSTRAINT jobcoin_cap CHECK (minted_minor BETWEEN 0 AND cap_minor)
);

CREATE FUNCTION jobcoin_keep_transaction() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF old.block_height IS NOT NULL
       OR (to_jsonb(new) - ARRAY['block_height', 'place'])
          <> (to_jsonb(old) - ARRAY['block_height', 'place']) THEN
        RAISE EXCEPTION 'a Jobcoin transaction is only ever put into a block'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN new;
END $$;
REVOKE EXECUTE ON FUNCTION jobcoin_keep_transaction() FROM PUBLIC;
CREATE TRIGGER keep_transaction BEFORE UPDATE ON jobcoin_transaction FOR EACH ROW
    EXECUTE FUNCTION jobcoin_keep_transaction();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON jobcoin_transaction
    EXECUTE FUNCTION append_only();

GRANT SELECT, INSERT ON jobcoin_block, jobcoin_transaction, jobcoin_output, jobcoin_account,
    jobcoin_supply TO strongroom_jobcoin;
GRANT UPDATE (block_height, place) ON jobcoin_transaction TO strongroom_jobcoin;
GRANT UPDATE (balance_minor, next_nonce) ON jobcoin_account TO strongroom_jobcoin;
GRANT UPDATE (minted_minor) ON jobcoin_supply TO strongroom_jobcoin;
