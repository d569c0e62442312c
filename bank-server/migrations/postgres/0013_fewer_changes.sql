-- Whoever tells waits for all others who tell, and for their disks. Of a consent that is not valid nothing is kept, so
-- nothing is told: not that it was asked for, approved or given up. What a consent opens is written before it is valid.
-- Replaced, and not made anew: that would have reads wait.
CREATE OR REPLACE TRIGGER tell_update AFTER UPDATE ON consent
    FOR EACH ROW WHEN (OLD.status = 'valid' AND to_jsonb(OLD) - 'last_use' IS DISTINCT FROM to_jsonb(NEW) - 'last_use')
    EXECUTE FUNCTION tell_change('consent', 'id');

CREATE OR REPLACE TRIGGER tell_delete AFTER DELETE ON consent
    FOR EACH ROW WHEN (OLD.status = 'valid') EXECUTE FUNCTION tell_change('consent', 'id');

CREATE OR REPLACE TRIGGER tell_change
    AFTER DELETE OR UPDATE OF account_id, details, balances, transactions, owner_name ON consent_account
    FOR EACH ROW EXECUTE FUNCTION tell_change('consent', 'consent_id');
