-- One database role per process, each with what it needs and nothing more. Passwords are set by the
-- migration job from its environment, never here.
DO $$
DECLARE
    process text;
BEGIN
    FOREACH process IN ARRAY ARRAY['strongroom_api', 'strongroom_worker', 'strongroom_signer'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = process) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', process);
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO strongroom_api, strongroom_worker, strongroom_signer;

-- Everybody who serves reads the books, the payouts and the chain log; nobody reads a wallet's key.
GRANT SELECT ON setting, chain, asset, payout, payout_event, approval_decision, policy,
    ledger_account, ledger_transaction, ledger_entry, hold, limit_counter, audit_chain,
    chain_batch, chain_transaction, chain_block, chain_head, process_heartbeat, signer_ceiling
    TO strongroom_api, strongroom_worker, strongroom_signer;
GRANT SELECT (uuid, chain_id, address, pub_key, type, "primary", next_account_nonce, inserted_at,
              updated_at)
    ON blockchain_wallet TO strongroom_api, strongroom_worker, strongroom_signer;
GRANT INSERT, UPDATE ON process_heartbeat
    TO strongroom_api, strongroom_worker, strongroom_signer;
GRANT EXECUTE ON FUNCTION ledger_content(bigint, bigint), decision_content(approval_decision),
    policy_content(policy) TO strongroom_api, strongroom_worker, strongroom_signer;

-- The API keeps identities and the policy. It can post nothing and moves no payout.
GRANT SELECT, INSERT, UPDATE ON app_user, second_factor, user_session, api_key, step_up_token,
    login_throttle TO strongroom_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON recovery_code TO strongroom_api;
GRANT DELETE ON second_factor, step_up_token, login_throttle TO strongroom_api;
GRANT INSERT ON policy TO strongroom_api;
GRANT USAGE ON SEQUENCE policy_version_seq TO strongroom_api;
GRANT SELECT (id, chain_transaction_id, sequence, txid, max_fee_minor, priority_fee_minor,
              signed_at, broadcast_at, last_error, created_at)
    ON chain_attempt TO strongroom_api;

-- The worker moves money, by posting rules only. Of identities it sees ids and roles.
GRANT SELECT (id, roles, disabled_at) ON app_user TO strongroom_worker, strongroom_signer;
GRANT EXECUTE ON FUNCTION ledger_post(jsonb) TO strongroom_worker;
GRANT INSERT, UPDATE ON payout, chain_batch, chain_transaction, chain_head TO strongroom_worker;
GRANT INSERT ON payout_event, approval_decision TO strongroom_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON chain_block TO strongroom_worker;
GRANT SELECT, INSERT, UPDATE ON chain_attempt TO strongroom_worker;
GRANT UPDATE (next_account_nonce, updated_at) ON blockchain_wallet TO strongroom_worker;
GRANT USAGE ON SEQUENCE payout_event_id_seq TO strongroom_worker;

-- The signer alone reads keys. It writes signatures and why it refused, and cannot post.
GRANT SELECT, INSERT, UPDATE ON blockchain_wallet TO strongroom_signer;
GRANT INSERT, UPDATE ON setting TO strongroom_signer;
GRANT SELECT ON chain_attempt TO strongroom_signer;
GRANT UPDATE (raw, txid, signed_at) ON chain_attempt TO strongroom_signer;
GRANT UPDATE (status, reason_code, updated_at) ON chain_transaction TO strongroom_signer;
GRANT UPDATE (waiting_for, waiting_since) ON chain_batch TO strongroom_signer;
