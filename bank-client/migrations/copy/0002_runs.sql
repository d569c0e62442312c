-- An account whose resourceId the bank has changed is looked for by its number.
CREATE INDEX account_by_number ON account (connection, card, number);

-- account.in_flight is by now the time at which the bank was asked for what it tells once; the 1 of before is as good as
-- any time long ago.
