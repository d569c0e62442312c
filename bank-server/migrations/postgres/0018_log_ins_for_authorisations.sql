-- The customer of an authorisation came by logging in at the bank, and was not named by the TPP.
ALTER TABLE authorisation ADD COLUMN by_log_in BIGINT NOT NULL DEFAULT 0;
