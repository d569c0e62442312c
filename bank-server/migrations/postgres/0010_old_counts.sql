-- no-transaction: others write meanwhile.
-- Counts, by their day.
CREATE INDEX CONCURRENTLY consent_use_by_day ON consent_use (day);
