-- What changes is told to whoever listens: which row, when it is committed. Replicas keep what they have read, and forget it
-- when they hear that. It is done here, so that replicas of the version before, and hands, tell it as well.
CREATE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := to_jsonb(COALESCE(NEW, OLD));
BEGIN
    -- The name of a channel has 63 bytes at most, and that of a schema can be as long.
    PERFORM pg_notify('bank_server_' || md5(TG_TABLE_SCHEMA), TG_ARGV[0] || ' ' || (changed ->> TG_ARGV[1]));
    RETURN NULL;
END $$;

-- That it was used is noted with reads, and nobody needs to know: whoever tells waits for all others who tell, and for
-- their disks.
CREATE TRIGGER tell_update AFTER UPDATE ON consent
    FOR EACH ROW WHEN (to_jsonb(OLD) - 'last_use' IS DISTINCT FROM to_jsonb(NEW) - 'last_use')
    EXECUTE FUNCTION tell_change('consent', 'id');

CREATE TRIGGER tell_delete AFTER DELETE ON consent
    FOR EACH ROW EXECUTE FUNCTION tell_change('consent', 'id');

CREATE TRIGGER tell_change
    AFTER INSERT OR DELETE OR UPDATE OF account_id, details, balances, transactions, owner_name ON consent_account
    FOR EACH ROW EXECUTE FUNCTION tell_change('consent', 'consent_id');

CREATE TRIGGER tell_change AFTER UPDATE OR DELETE ON account
    FOR EACH ROW EXECUTE FUNCTION tell_change('account', 'id');
