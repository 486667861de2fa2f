-- Events, written by whoever changes what they tell of, in the same transaction. xid is set by the
-- database and cannot be given: readers take only what is below every running transaction's.
CREATE TABLE outbox_event (
    id varchar PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    user_id varchar NOT NULL REFERENCES app_user (id),
    kind varchar NOT NULL,
    resource_id varchar NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL
);
CREATE UNIQUE INDEX outbox_event_order ON outbox_event (xid, seq);
CREATE INDEX outbox_event_of_user ON outbox_event (user_id, xid, seq);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outbox_event
    EXECUTE FUNCTION append_only();

GRANT SELECT, INSERT (id, user_id, kind, resource_id, data, at) ON outbox_event
    TO strongroom_api, strongroom_worker;
