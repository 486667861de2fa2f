-- Webhooks. The API keeps endpoints, and asks for pings and redeliveries; the worker makes
-- deliveries of the outbox and sends them. Secrets are sealed by keys that both hold.
CREATE TABLE webhook_endpoint (
    id varchar PRIMARY KEY,
    user_id varchar NOT NULL REFERENCES app_user (id),
    url varchar(2000) NOT NULL,
    description varchar(200),
    kinds varchar[] NOT NULL,
    sealed_secret bytea NOT NULL,
    previous_sealed_secret bytea,
    previous_secret_until timestamptz,
    failing_since timestamptz,
    disabled_at timestamptz,
    disabled_reason varchar,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    removed_at timestamptz,
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CHECK ((previous_sealed_secret IS NULL) = (previous_secret_until IS NULL))
);
CREATE INDEX webhook_endpoint_of_user ON webhook_endpoint (user_id, created_at, id)
    WHERE removed_at IS NULL;

CREATE TABLE webhook_delivery (
    id varchar PRIMARY KEY,
    endpoint_id varchar NOT NULL REFERENCES webhook_endpoint (id),
    event_id varchar NOT NULL REFERENCES outbox_event (id),
    kind varchar NOT NULL,
    redelivery_of varchar REFERENCES webhook_delivery (id),
    is_manual boolean NOT NULL,
    status varchar NOT NULL,
    attempts integer NOT NULL,
    next_attempt_at timestamptz,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz
);
CREATE UNIQUE INDEX webhook_delivery_once ON webhook_delivery (endpoint_id, event_id)
    WHERE redelivery_of IS NULL;
CREATE INDEX webhook_delivery_list ON webhook_delivery (endpoint_id, created_at, id);
CREATE INDEX webhook_delivery_unstarted ON webhook_delivery (created_at) WHERE started_at IS NULL;
CREATE INDEX webhook_delivery_manual ON webhook_delivery (endpoint_id)
    WHERE is_manual AND status = 'pending';

CREATE TABLE webhook_attempt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id varchar NOT NULL REFERENCES webhook_delivery (id),
    number integer NOT NULL,
    at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    status_code integer,
    error varchar,
    answer varchar NOT NULL
);
CREATE UNIQUE INDEX webhook_attempt_once ON webhook_attempt (delivery_id, number);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON webhook_attempt
    EXECUTE FUNCTION append_only();

CREATE TABLE webhook_cursor (
    id integer PRIMARY KEY CHECK (id = 1),
    xid xid8 NOT NULL,
    seq bigint NOT NULL
);
INSERT INTO webhook_cursor VALUES (1, '0', 0);

GRANT SELECT, INSERT ON webhook_endpoint TO strongroom_api;
GRANT UPDATE (description, kinds, sealed_secret, previous_sealed_secret, previous_secret_until,
              failing_since, disabled_at, disabled_reason, updated_at, removed_at)
    ON webhook_endpoint TO strongroom_api;
GRANT SELECT, INSERT ON webhook_delivery TO strongroom_api;
GRANT SELECT ON webhook_attempt TO strongroom_api;

GRANT SELECT ON webhook_endpoint TO strongroom_worker;
GRANT UPDATE (failing_since, disabled_at, disabled_reason, updated_at)
    ON webhook_endpoint TO strongroom_worker;
GRANT SELECT, INSERT ON webhook_delivery TO strongroom_worker;
GRANT UPDATE (status, attempts, next_attempt_at, started_at, ended_at)
    ON webhook_delivery TO strongroom_worker;
GRANT SELECT, INSERT ON webhook_attempt TO strongroom_worker;
GRANT SELECT, UPDATE (xid, seq) ON webhook_cursor TO strongroom_worker;
