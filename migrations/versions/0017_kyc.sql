-- Who may write what of KYC. The API stores what applicants hand in, while it is asked for; the
-- worker moves applications and levels on; a level rests on somebody else's approval.

CREATE FUNCTION keep_kyc_application() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is applied for does not change' USING ERRCODE = 'SR009';
END $$;

CREATE TRIGGER keep_kyc_application_at_first BEFORE INSERT ON kyc_application FOR EACH ROW
    WHEN (new.status <> 'submitted' OR new.revision <> 1 OR new.granted_level IS NOT NULL)
    EXECUTE FUNCTION keep_kyc_application();
CREATE TRIGGER keep_kyc_application BEFORE UPDATE ON kyc_application FOR EACH ROW
    WHEN ((old.id, old.user_id, old.level, old.details_sha256, old.created_at) IS DISTINCT FROM
          (new.id, new.user_id, new.level, new.details_sha256, new.created_at)
          OR new.granted_level > old.granted_level)
    EXECUTE FUNCTION keep_kyc_application();

-- Whoever stores documents holds no right to lock an application; this guard does it in their stead.
CREATE FUNCTION keep_kyc_document() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM 1 FROM kyc_application a
    WHERE a.id = new.application_id
      AND ((a.status = 'submitted' AND new.revision = 1) OR
           (a.status = 'information_requested' AND new.revision = a.revision + 1))
    FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no documents are asked for' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_kyc_document BEFORE INSERT ON kyc_document FOR EACH ROW
    EXECUTE FUNCTION keep_kyc_document();

CREATE FUNCTION keep_kyc_level() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM kyc_decision d JOIN kyc_application a ON a.id = d.application_id
    WHERE d.application_id = new.application_id AND d.decision = 'approve'
      AND d.level >= new.level AND a.user_id = new.user_id AND d.admin_id <> new.user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a level rests on an approval by somebody else' USING ERRCODE = 'SR009';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER keep_kyc_level BEFORE INSERT OR UPDATE ON kyc_level FOR EACH ROW
    WHEN (new.level > 0) EXECUTE FUNCTION keep_kyc_level();

CREATE FUNCTION kyc_decision_content(d kyc_decision) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        jsonb_build_array(d.id, d.application_id, d.admin_id, d.decision, d.revision, d.level,
                          d.content_hash, d.second_factor, d.note,
                          extract(epoch FROM d.decided_at))::text,
        'UTF8')), 'hex')
$$;

CREATE FUNCTION kyc_level_content(c kyc_level_change) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(
        jsonb_build_array(c.id, c.user_id, c.level_before, c.level_after, c.cause,
                          c.application_id, c.decision_id, extract(epoch FROM c.at))::text,
        'UTF8')), 'hex')
$$;

CREATE FUNCTION audit_kyc_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM audit_append(ARRAY['kyc_decision'], ARRAY[new.id], ARRAY[kyc_decision_content(new)]);
    RETURN NULL;
END $$;

CREATE FUNCTION audit_kyc_level() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM audit_append(ARRAY['kyc_level'], ARRAY[new.id::text], ARRAY[kyc_level_content(new)]);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER kyc_decision_audited AFTER INSERT ON kyc_decision
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_kyc_decision();
CREATE CONSTRAINT TRIGGER kyc_level_audited AFTER INSERT ON kyc_level_change
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_kyc_level();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kyc_decision
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kyc_level_change
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kyc_application_event
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kyc_document
    EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kyc_details
    EXECUTE FUNCTION append_only();

GRANT SELECT ON kyc_application, kyc_decision, kyc_level, kyc_level_change, kyc_application_event
    TO strongroom_api, strongroom_worker;
GRANT SELECT ON kyc_details, kyc_document TO strongroom_api;
GRANT SELECT (application_id, number, revision, kind, sha256, size_bytes, issued_country,
              expires_on, created_at)
    ON kyc_document TO strongroom_worker;
GRANT INSERT ON kyc_application, kyc_details, kyc_document TO strongroom_api;
GRANT INSERT ON kyc_application_event TO strongroom_api, strongroom_worker;
GRANT USAGE ON SEQUENCE kyc_application_event_id_seq TO strongroom_api, strongroom_worker;
GRANT UPDATE (status, revision, granted_level, note, expires_at, remind_at, documents_expire_at,
              updated_at)
    ON kyc_application TO strongroom_worker;
GRANT INSERT ON kyc_decision, kyc_level, kyc_level_change TO strongroom_worker;
GRANT UPDATE (level, application_id, since) ON kyc_level TO strongroom_worker;
GRANT USAGE ON SEQUENCE kyc_level_change_id_seq TO strongroom_worker;
GRANT EXECUTE ON FUNCTION kyc_decision_content(kyc_decision), kyc_level_content(kyc_level_change)
    TO strongroom_api, strongroom_worker, strongroom_signer;
REVOKE EXECUTE ON FUNCTION keep_kyc_application(), keep_kyc_document(), keep_kyc_level(),
    audit_kyc_decision(), audit_kyc_level() FROM PUBLIC;
