-- How customers prove who they are, and what they approve. Times are seconds since 1970, truth is 0 or 1.

-- Further holders of an account, beside the one it was opened for.
CREATE TABLE account_holder (
    account  TEXT NOT NULL REFERENCES account (id),
    customer TEXT NOT NULL REFERENCES customer (id),
    PRIMARY KEY (account, customer)
);

CREATE INDEX account_holder_by_customer ON account_holder (customer);

-- How many of its holders must approve a consent for it.
ALTER TABLE account ADD COLUMN approvals BIGINT NOT NULL DEFAULT 1;

CREATE TABLE credential (
    psu      TEXT NOT NULL PRIMARY KEY,
    password TEXT NOT NULL, -- argon2id, as a PHC string
    totp     TEXT           -- the secret for codes, sealed
);

-- Which time steps of a customer's codes are taken: each belongs to one thing, and is used once.
CREATE TABLE code (
    psu        TEXT   NOT NULL PRIMARY KEY,
    subject    TEXT,            -- what a code is being asked for; NULL: nothing
    opened     BIGINT NOT NULL, -- when it was asked for
    first_step BIGINT NOT NULL, -- codes of earlier steps are not for this
    used_step  BIGINT NOT NULL, -- codes up to this step have been used
    wrong      BIGINT NOT NULL, -- wrong codes for this subject
    standing   BIGINT NOT NULL  -- 1: it was asked for on a device that the bank knows; others do not take its place
);

CREATE TABLE passkey (
    id         TEXT   NOT NULL PRIMARY KEY, -- the credential id, base64url
    psu        TEXT   NOT NULL,
    name       TEXT   NOT NULL, -- as the customer calls it
    credential TEXT   NOT NULL, -- JSON
    created    BIGINT NOT NULL,
    last_used  BIGINT
);

CREATE INDEX passkey_by_customer ON passkey (psu);

-- What a browser was asked to sign, until it has.
CREATE TABLE passkey_question (
    psu     TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    state   TEXT   NOT NULL, -- JSON
    asked   BIGINT NOT NULL,
    PRIMARY KEY (psu, subject)
);

-- Devices on which the bank's app approves.
CREATE TABLE phone (
    token    TEXT   NOT NULL PRIMARY KEY, -- SHA-256 of what the device keeps
    psu      TEXT   NOT NULL,
    enrolled BIGINT NOT NULL
);

CREATE INDEX phone_by_customer ON phone (psu);

-- Wrong passwords, by whose attempts they were: a keyed digest of customer and source.
CREATE TABLE failure (
    bucket TEXT   NOT NULL PRIMARY KEY,
    failed BIGINT NOT NULL,
    last   BIGINT NOT NULL
);

CREATE INDEX failure_by_time ON failure (last);

-- Customers who have proved themselves through a TPP: what strangers try there does not slow them down. Keyed digests too.
CREATE TABLE acquainted (
    stamp TEXT   NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);

CREATE TABLE authorisation (
    id               TEXT   NOT NULL PRIMARY KEY,
    consent_id       TEXT   NOT NULL REFERENCES consent (id),
    request_id       TEXT   NOT NULL, -- the X-Request-ID that started it
    request_digest   TEXT   NOT NULL, -- SHA-256 of what that request said
    psu              TEXT,            -- whom the TPP named, or who has logged in
    approach         TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    method           TEXT,
    redirect_uri     TEXT,
    nok_redirect_uri TEXT,
    confirmation     TEXT,            -- SHA-256 of the code with which the TPP confirms
    pending          TEXT,            -- JSON: what takes effect when it does
    created          BIGINT NOT NULL,
    last_action      BIGINT NOT NULL
);

-- One X-Request-ID has one effect.
CREATE UNIQUE INDEX authorisation_by_request ON authorisation (consent_id, request_id);
CREATE INDEX authorisation_by_customer ON authorisation (psu, status);
