-- Counts the changes to what a customer proves herself with. What was begun under an earlier version ends.
ALTER TABLE credential ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
