-- The transaction unit: what every unit did, in one shape. A unit's own tables stay the truth; a
-- branch of these views says how its rows read. Amounts are never negative: `direction` says
-- whether the money comes or goes, seen from `user_id`.

CREATE VIEW wallet_transaction AS
    SELECT p.id, p.user_id,
           CASE p.route WHEN 'payout' THEN 'payout' WHEN 'send' THEN 'onchain_send'
                ELSE 'pocket_transfer' END AS kind,
           CASE WHEN p.route IN ('fund', 'redeem') THEN 'own' ELSE 'out' END AS direction,
           p.status,
           CASE WHEN p.status = 'settled' THEN 'done'
                WHEN p.status IN ('awaiting_approval', 'ready', 'batched') THEN 'pending'
                ELSE 'failed' END AS state,
           p.asset, p.amount_minor, p.fee_minor,
           CASE WHEN p.route NOT IN ('fund', 'redeem') THEN p.destination END AS counterparty,
           p.chain_id,
           p.run_id AS group_id, p.note, p.chain_transaction_id, NULL::text AS txid,
           p.created_at, p.updated_at
    FROM payout p
UNION ALL
    SELECT d.id, d.user_id, 'deposit', 'in', d.status,
           CASE WHEN d.status = 'credited' AND d.reason_code IS NULL THEN 'done'
                WHEN d.status IN ('seen', 'confirming') THEN 'pending'
                ELSE 'failed' END,
           d.asset, d.amount_minor, 0::numeric, a.address, d.chain_id,
           m.purchase_id, NULL, d.swept_by, d.txid,
           d.seen_at, d.updated_at
    FROM chain_deposit d
    JOIN chain_address a ON a.id = d.address_id
    LEFT JOIN purchase_payment m ON m.deposit_id = d.id
    WHERE d.asset IS NOT NULL
UNION ALL
    SELECT t.id, t.user_id, 'transfer', 'out', t.status, 'done',
           t.asset, t.amount_minor, t.fee_minor, coalesce('@' || t.recipient_handle, t.recipient_id),
           NULL, t.money_request_id, t.note, NULL, NULL,
           t.created_at, t.updated_at
    FROM transfer t
UNION ALL
    SELECT t.id, t.recipient_id, 'transfer', 'in', t.status, 'done',
           t.asset, t.amount_minor, t.fee_minor, coalesce('@' || t.sender_handle, t.user_id),
           NULL, t.money_request_id, t.note, NULL, NULL,
           t.created_at, t.updated_at
    FROM transfer t
UNION ALL
    -- What was bought of what was asked for; until something is, what was asked for.
    SELECT b.id, b.user_id, 'purchase', 'in', b.status,
           CASE WHEN b.status IN ('completed', 'underpaid') THEN 'done'
                WHEN b.status IN ('awaiting_payment', 'confirming', 'partially_paid') THEN 'pending'
                ELSE 'failed' END,
           b.asset, CASE WHEN b.credited_minor > 0 THEN b.credited_minor ELSE b.amount_minor END,
           b.fee_minor, coalesce(a.address, b.method), a.chain_id,
           b.quote_id, NULL, NULL, NULL,
           b.created_at, b.updated_at
    FROM purchase b LEFT JOIN chain_address a ON a.id = b.address_id;

CREATE VIEW wallet_transaction_event AS
    SELECT e.payout_id AS transaction_id, e.id AS sequence, e.status, e.detail, e.at
    FROM payout_event e
UNION ALL
    SELECT e.deposit_id, e.id, e.status, e.detail, e.at FROM chain_deposit_event e
UNION ALL
    SELECT e.transfer_id, e.id, e.status, e.detail, e.at FROM transfer_event e
UNION ALL
    SELECT e.purchase_id, e.id, e.status, e.detail, e.at FROM purchase_event e;

GRANT SELECT ON wallet_transaction, wallet_transaction_event TO strongroom_api;

-- What a ledger transaction is about is asked for by resource; when it was booked, by statements.
CREATE INDEX ledger_transaction_recorded ON ledger_transaction (recorded_at);
