-- All tables as of version 7: the versions before were on SQLite alone. What the columns are for is said there.
--
-- COLLATE "C": dates and ids have one order, that of their bytes, whatever the database's language. Tables whose rows are
-- written over again and again leave room for that on their pages.

-- The built-in ledger.

CREATE TABLE customer (
    id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL
);

CREATE TABLE account (
    id        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    customer  TEXT COLLATE "C" NOT NULL REFERENCES customer (id),
    position  BIGINT NOT NULL,
    card      BIGINT NOT NULL,
    details   TEXT COLLATE "C" NOT NULL,
    balances  TEXT COLLATE "C" NOT NULL,
    approvals BIGINT NOT NULL DEFAULT 1
);

CREATE INDEX account_by_customer ON account (customer, position);

CREATE TABLE account_holder (
    account  TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    customer TEXT COLLATE "C" NOT NULL REFERENCES customer (id),
    PRIMARY KEY (account, customer)
);

CREATE INDEX account_holder_by_customer ON account_holder (customer);

CREATE TABLE entry (
    account        TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    booked         BIGINT NOT NULL,
    date           TEXT COLLATE "C" NOT NULL,
    sequence       BIGINT NOT NULL,
    transaction_id TEXT COLLATE "C" NOT NULL,
    details        TEXT COLLATE "C" NOT NULL,
    reference      TEXT COLLATE "C",
    PRIMARY KEY (account, booked, date, sequence)
);

CREATE UNIQUE INDEX entry_by_id ON entry (account, transaction_id);
CREATE INDEX entry_by_arrival ON entry (account, booked, sequence, date);
CREATE INDEX entry_by_reference ON entry (account, reference);

-- Consents and their life.

CREATE TABLE tpp (
    organisation TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name         TEXT COLLATE "C" NOT NULL,
    authority    TEXT COLLATE "C" NOT NULL,
    updated      BIGINT NOT NULL
);

CREATE TABLE consent (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tpp               TEXT COLLATE "C" NOT NULL,
    request_id        TEXT COLLATE "C" NOT NULL,
    request_digest    TEXT COLLATE "C" NOT NULL,
    status            TEXT COLLATE "C" NOT NULL,
    access            TEXT COLLATE "C" NOT NULL,
    recurring         BIGINT NOT NULL,
    valid_until       TEXT COLLATE "C" NOT NULL,
    frequency_per_day BIGINT NOT NULL,
    psu               TEXT COLLATE "C",
    last_action       BIGINT NOT NULL,
    created           BIGINT NOT NULL DEFAULT 0,
    approve_by        BIGINT NOT NULL DEFAULT 0,
    approvals_needed  BIGINT NOT NULL DEFAULT 1,
    authenticated     BIGINT,
    last_use          BIGINT,
    ends              BIGINT,
    approach          TEXT COLLATE "C",
    redirect_uri      TEXT COLLATE "C",
    nok_redirect_uri  TEXT COLLATE "C"
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX consent_by_request ON consent (tpp, request_id);
CREATE INDEX consent_by_customer ON consent (psu, tpp, status);

CREATE TABLE consent_account (
    consent_id    TEXT COLLATE "C" NOT NULL REFERENCES consent (id),
    position      BIGINT NOT NULL,
    account_id    TEXT COLLATE "C" NOT NULL,
    balances      BIGINT NOT NULL,
    transactions  BIGINT NOT NULL,
    details       BIGINT NOT NULL DEFAULT 1,
    owner_name    BIGINT NOT NULL DEFAULT 0,
    seen          BIGINT NOT NULL DEFAULT 0,
    seen_balances BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (consent_id, account_id)
);

CREATE TABLE consent_use (
    consent_id TEXT COLLATE "C" NOT NULL REFERENCES consent (id),
    endpoint   TEXT COLLATE "C" NOT NULL,
    account    TEXT COLLATE "C" NOT NULL,
    item       TEXT COLLATE "C" NOT NULL,
    day        TEXT COLLATE "C" NOT NULL,
    count      BIGINT NOT NULL,
    PRIMARY KEY (consent_id, endpoint, account, item)
) WITH (fillfactor = 80);

CREATE TABLE delta_report (
    tpp     TEXT COLLATE "C" NOT NULL,
    psu     TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    arrival BIGINT NOT NULL,
    PRIMARY KEY (tpp, psu, account)
) WITH (fillfactor = 80);

CREATE TABLE authorisation (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    consent_id       TEXT COLLATE "C" NOT NULL REFERENCES consent (id),
    request_id       TEXT COLLATE "C" NOT NULL,
    request_digest   TEXT COLLATE "C" NOT NULL,
    psu              TEXT COLLATE "C",
    approach         TEXT COLLATE "C" NOT NULL,
    status           TEXT COLLATE "C" NOT NULL,
    method           TEXT COLLATE "C",
    redirect_uri     TEXT COLLATE "C",
    nok_redirect_uri TEXT COLLATE "C",
    confirmation     TEXT COLLATE "C",
    pending          TEXT COLLATE "C",
    created          BIGINT NOT NULL,
    last_action      BIGINT NOT NULL
);

CREATE UNIQUE INDEX authorisation_by_request ON authorisation (consent_id, request_id);
CREATE INDEX authorisation_by_customer ON authorisation (psu, status);

-- How customers prove who they are.

CREATE TABLE credential (
    psu      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    password TEXT COLLATE "C" NOT NULL,
    totp     TEXT COLLATE "C"
);

CREATE TABLE code (
    psu        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject    TEXT COLLATE "C",
    opened     BIGINT NOT NULL,
    first_step BIGINT NOT NULL,
    used_step  BIGINT NOT NULL,
    wrong      BIGINT NOT NULL,
    standing   BIGINT NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE passkey (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    psu        TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    created    BIGINT NOT NULL,
    last_used  BIGINT
);

CREATE INDEX passkey_by_customer ON passkey (psu);

CREATE TABLE passkey_question (
    psu     TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    state   TEXT COLLATE "C" NOT NULL,
    asked   BIGINT NOT NULL,
    PRIMARY KEY (psu, subject)
);

CREATE TABLE phone (
    token    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    psu      TEXT COLLATE "C" NOT NULL,
    enrolled BIGINT NOT NULL
);

CREATE INDEX phone_by_customer ON phone (psu);

CREATE TABLE failure (
    bucket TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    failed BIGINT NOT NULL,
    last   BIGINT NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX failure_by_time ON failure (last);

CREATE TABLE acquainted (
    stamp TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);

-- Online banking.

CREATE TABLE session (
    digest    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    psu       TEXT COLLATE "C" NOT NULL,
    level     TEXT COLLATE "C" NOT NULL,
    begun     BIGINT NOT NULL,
    last_seen BIGINT NOT NULL
);

CREATE INDEX session_by_psu ON session (psu, last_seen);
CREATE INDEX session_by_last_seen ON session (last_seen);

CREATE TABLE connection (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    psu           TEXT COLLATE "C" NOT NULL,
    bank          TEXT COLLATE "C" NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    begun         BIGINT NOT NULL,
    returned      BIGINT,
    consent       TEXT COLLATE "C",
    authorisation TEXT COLLATE "C",
    link          TEXT COLLATE "C",
    valid_until   TEXT COLLATE "C",
    data          TEXT COLLATE "C",
    fetched       BIGINT,
    tried         BIGINT,
    problem       TEXT COLLATE "C"
);

CREATE UNIQUE INDEX connection_by_state ON connection (state);
CREATE UNIQUE INDEX connection_by_psu ON connection (psu, bank, status);
CREATE INDEX connection_by_last_try ON connection (status, tried);
