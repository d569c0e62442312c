-- Delta reports: what is new on an account, in the order in which it came.

-- The number of an entry within its account is the order of its arrival: the ledger gives each that comes the next one,
-- whatever its day. A delta report is one look-up in this index; the date is in it for the history that may be shown.
CREATE INDEX entry_by_arrival ON entry (account, booked, sequence, date);

-- By what a TPP names a booked entry when it asks for those after it: the entryReference; of a card the transaction's id.
ALTER TABLE entry ADD COLUMN reference TEXT;
UPDATE entry SET reference =
    COALESCE(json_extract(details, '$.entryReference'), json_extract(details, '$.cardTransactionId'))
    WHERE booked = 1;
CREATE INDEX entry_by_reference ON entry (account, reference);

-- How far the reports went that a TPP got with deltaList, for each customer and account.
CREATE TABLE delta_report (
    tpp     TEXT   NOT NULL,
    psu     TEXT   NOT NULL,
    account TEXT   NOT NULL,
    arrival BIGINT NOT NULL, -- of the newest booked entry that was reported
    PRIMARY KEY (tpp, psu, account)
);
