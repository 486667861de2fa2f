-- The transaction unit: what every unit did, in one shape. A unit's own tables stay the truth; a
-- branch of these views says how its rows read. Amounts are never negative: `direction` says
-- whether the money comes or goes, seen from `user_id`.

CREATE VIEW wallet_transaction AS
    SELECT p.id, p.user_id, 'payout' AS kind, 'out' AS direction, p.status,
           CASE WHEN p.status = 'settled' THEN 'done'
                WHEN p.status IN ('awaiting_approval', 'ready', 'batched') THEN 'pending'
                ELSE 'failed' END AS state,
           p.asset, p.amount_minor, p.fee_minor, p.destination AS counterparty, p.chain_id,
           p.run_id AS group_id, p.note, p.chain_transaction_id, NULL::text AS txid,
           p.created_at, p.updated_at
    FROM payout p
UNION ALL
    SELECT d.id, d.user_id, 'deposit', 'in', d.status,
           CASE WHEN d.status = 'credited' AND d.reason_code IS NULL THEN 'done'
                WHEN d.status IN ('seen', 'confirming') THEN 'pending'
                ELSE 'failed' END,
           d.asset, d.amount_minor, 0::numeric, a.address, d.chain_id,
           NULL, NULL, d.swept_by, d.txid,
           d.seen_at, d.updated_at
    FROM chain_deposit d JOIN chain_address a ON a.id = d.address_id
    WHERE d.asset IS NOT NULL;

CREATE VIEW wallet_transaction_event AS
    SELECT e.payout_id AS transaction_id, e.id AS sequence, e.status, e.detail, e.at
    FROM payout_event e
UNION ALL
    SELECT e.deposit_id, e.id, e.status, e.detail, e.at FROM chain_deposit_event e;

GRANT SELECT ON wallet_transaction, wallet_transaction_event TO strongroom_api;

-- What a ledger transaction is about is asked for by resource; when it was booked, by statements.
CREATE INDEX ledger_transaction_recorded ON ledger_transaction (recorded_at);
