-- The worker reads the gateway's own list of events, for those that were never delivered.
CREATE TABLE gateway_cursor (
    gateway varchar PRIMARY KEY,
    seen_until timestamptz NOT NULL
);
CREATE INDEX gateway_event_open ON gateway_event (received_at) WHERE handled_at IS NULL;

GRANT SELECT, INSERT, UPDATE (seen_until) ON gateway_cursor TO strongroom_worker;
GRANT INSERT ON gateway_event TO strongroom_worker;

-- What is counted at every request for metrics.
CREATE INDEX webhook_delivery_pending ON webhook_delivery (created_at) WHERE status = 'pending';
CREATE INDEX purchase_open ON purchase (status)
    WHERE status IN ('awaiting_payment', 'confirming', 'partially_paid');
GRANT SELECT ON webhook_cursor TO strongroom_api;
