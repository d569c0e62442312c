-- A resourceId is of one consent. Of accounts that were written before, it is not known of which.
ALTER TABLE account ADD COLUMN consent BLOB; -- digest of the consent in which the resourceId is the account's; NULL: of none
DROP INDEX account_by_resource;
CREATE UNIQUE INDEX account_by_resource ON account (connection, card, consent, resource);

-- Numbers stand in the details: accounts are compared by all that they have.
DROP INDEX account_by_number;
ALTER TABLE account DROP COLUMN number;

-- When the bank last said so.
ALTER TABLE balance ADD COLUMN read INTEGER NOT NULL DEFAULT 0;
UPDATE balance SET read = at;
