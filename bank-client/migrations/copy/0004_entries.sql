-- An entry is told apart by its content, and by its number among equals; its name is a hint. What was copied before has no
-- name here until it is met again: each account is walked through once from the first day of which it is whole.
DROP INDEX entry_by_identity;
ALTER TABLE entry RENAME COLUMN identity TO sealed_for; -- to which its seal is bound
ALTER TABLE entry ADD COLUMN name BLOB;                 -- digest of the bank's name for it, or of amount and days
ALTER TABLE entry ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0; -- another form of a known entry, or a twin: not shown yet
ALTER TABLE entry ADD COLUMN outside TEXT;              -- of an undated one: a list from that day on did not have it
CREATE INDEX entry_by_content ON entry (account, booked, content, generation);
CREATE INDEX entry_by_name ON entry (account, booked, name, doubtful, generation);
CREATE INDEX entry_doubtful ON entry (account) WHERE doubtful = 1;
-- entry.dated is by now 1 with a day of booking, 2 with another day, and 0 with none.
CREATE INDEX entry_undated ON entry (account, generation) WHERE booked = 1 AND dated <> 1;
CREATE INDEX entry_by_successor ON entry (booked_as) WHERE booked_as IS NOT NULL;

ALTER TABLE account ADD COLUMN unsettled TEXT;       -- days have to be listed from that day on before anything else
ALTER TABLE account ADD COLUMN oldest_first INTEGER; -- the bank's lists begin with the oldest entry
UPDATE account SET unsettled = COALESCE(since, complete) WHERE complete IS NOT NULL;
