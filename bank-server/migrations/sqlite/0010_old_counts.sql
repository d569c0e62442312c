-- Counts, by their day.
CREATE INDEX consent_use_by_day ON consent_use (day);
