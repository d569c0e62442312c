-- What the bank knows of itself: how far the removal of old rows has come, and a row that is written to find out whether the
-- disk takes more.
CREATE TABLE bank_state (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The customer is a digest under the bank's key from now on, and a report is kept for a time. Those that there are begin
-- anew: what was reported last is reported once more. The version before writes rows that are removed soon.
DELETE FROM delta_report;
ALTER TABLE delta_report ADD COLUMN noted BIGINT NOT NULL DEFAULT 0;

-- A TPP is removed with its last consent: some are left from before that was so.
DELETE FROM tpp WHERE NOT EXISTS (SELECT 1 FROM consent c WHERE c.tpp = tpp.organisation);
