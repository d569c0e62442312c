-- The built-in ledger. Dates are YYYY-MM-DD, truth is 0 or 1, JSON is text in the standard's own form.

CREATE TABLE customer (
    id   TEXT NOT NULL PRIMARY KEY, -- with which the customer logs in
    name TEXT NOT NULL
);

CREATE TABLE account (
    id       TEXT   NOT NULL PRIMARY KEY, -- the resourceId
    customer TEXT   NOT NULL REFERENCES customer (id),
    position BIGINT NOT NULL,             -- the order in which the customer sees the accounts
    card     BIGINT NOT NULL,             -- a card account
    details  TEXT   NOT NULL,             -- JSON, schema accountDetails or cardAccountDetails
    balances TEXT   NOT NULL              -- JSON, schema balanceList
);

CREATE INDEX account_by_customer ON account (customer, position);

-- The primary key is the order in which pages are read.
CREATE TABLE entry (
    account        TEXT   NOT NULL REFERENCES account (id),
    booked         BIGINT NOT NULL,
    date           TEXT   NOT NULL, -- of booking; of entry, while pending
    sequence       BIGINT NOT NULL, -- order within the account
    transaction_id TEXT   NOT NULL,
    details        TEXT   NOT NULL, -- JSON, schema transactions or cardTransaction
    PRIMARY KEY (account, booked, date, sequence)
);

CREATE UNIQUE INDEX entry_by_id ON entry (account, transaction_id);
