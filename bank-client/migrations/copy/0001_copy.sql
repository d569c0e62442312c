-- The local copy of accounts, balances and transactions. Times are seconds since 1970, dates are YYYY-MM-DD, truth is 0 or
-- 1. What is sealed opens with the program's key alone; digests are keyed, so that nobody can try out what they stand for.

CREATE TABLE copy (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    digest_key BLOB    NOT NULL -- sealed
);

CREATE TABLE account (
    id         INTEGER NOT NULL PRIMARY KEY,
    connection TEXT    NOT NULL,           -- by which the program knows the connection to a bank
    card       INTEGER NOT NULL,
    resource   BLOB    NOT NULL,           -- digest of the resourceId
    number     BLOB,                       -- digest of account number and currency
    position   INTEGER NOT NULL,           -- in the bank's list
    content    BLOB    NOT NULL,           -- digest of the details
    details    BLOB    NOT NULL,           -- sealed: the resourceId, and JSON in the standard's form
    first_seen INTEGER NOT NULL,
    gone       INTEGER,                    -- since when the consent does not open it any more
    generation INTEGER NOT NULL DEFAULT 0, -- number of the last walk through its transactions
    in_flight  INTEGER NOT NULL DEFAULT 0, -- the bank was asked for what it remembers to be new, and not all is here
    synced     INTEGER,                    -- when a walk was last read whole
    complete   TEXT,                       -- the day of that
    since      TEXT,                       -- the first day of which everything is here
    reference  BLOB,                       -- sealed: the entryReference after which the next delta report starts
    refused    TEXT                        -- the day on which the bank refused a delta report
);

CREATE UNIQUE INDEX account_by_resource ON account (connection, card, resource);

CREATE TABLE balance (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    slot    TEXT    NOT NULL, -- its type, and its number among those of that type
    at      INTEGER NOT NULL, -- when it was first seen so
    current INTEGER NOT NULL,
    content BLOB    NOT NULL, -- digest
    details BLOB    NOT NULL, -- sealed: JSON, schema balance
    PRIMARY KEY (account, slot, at)
) WITHOUT ROWID;

CREATE TABLE entry (
    id            INTEGER NOT NULL PRIMARY KEY,
    account       INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    booked        INTEGER NOT NULL,
    identity      BLOB    NOT NULL, -- digest of what makes it this entry and no other
    content       BLOB    NOT NULL, -- digest of the details
    day           TEXT    NOT NULL, -- of booking; otherwise the nearest that is known
    dated         INTEGER NOT NULL, -- that is the day of booking
    place         INTEGER NOT NULL, -- order within the day; the greater, the newer
    generation    INTEGER NOT NULL, -- the walk in which it was last seen
    first_seen    INTEGER NOT NULL,
    pending_since INTEGER,          -- of a booked one: when it was first seen pending
    listed_from   TEXT,             -- of a pending one: the first day of a period in which it was listed
    booked_as     INTEGER,          -- of a pending one: the booked one that it has probably become
    sure          INTEGER NOT NULL DEFAULT 0, -- that follows from an id
    details       BLOB    NOT NULL  -- sealed: JSON, schema transactions or cardTransaction
);

CREATE UNIQUE INDEX entry_by_identity ON entry (account, booked, identity);
CREATE INDEX entry_by_day ON entry (account, booked, day, place, id);

-- By what a pending entry is known again when it is booked: digests.
CREATE TABLE pending_key (
    account INTEGER NOT NULL,
    key     BLOB    NOT NULL,
    entry   INTEGER NOT NULL REFERENCES entry (id) ON DELETE CASCADE,
    PRIMARY KEY (account, key, entry)
) WITHOUT ROWID;
CREATE INDEX pending_key_by_entry ON pending_key (entry);
