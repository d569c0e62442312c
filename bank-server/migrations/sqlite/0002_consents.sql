-- What XS2A itself must remember. Times are seconds since 1970, dates are YYYY-MM-DD, truth is 0 or 1.

CREATE TABLE consent (
    id                TEXT   NOT NULL PRIMARY KEY,
    tpp               TEXT   NOT NULL, -- the organisation id of the TPP it was given to
    request_id        TEXT   NOT NULL, -- the X-Request-ID that created it
    request_digest    TEXT   NOT NULL, -- SHA-256 of the body that created it
    status            TEXT   NOT NULL,
    access            TEXT   NOT NULL, -- JSON, schema accountAccess
    recurring         BIGINT NOT NULL,
    valid_until       TEXT   NOT NULL,
    frequency_per_day BIGINT NOT NULL,
    psu               TEXT,            -- who approved it
    last_action       BIGINT NOT NULL
);

-- One X-Request-ID has one effect.
CREATE UNIQUE INDEX consent_by_request ON consent (tpp, request_id);

-- What an approved consent opens, account by account.
CREATE TABLE consent_account (
    consent_id   TEXT   NOT NULL REFERENCES consent (id),
    position     BIGINT NOT NULL, -- the order in which a TPP sees the accounts
    account_id   TEXT   NOT NULL,
    balances     BIGINT NOT NULL,
    transactions BIGINT NOT NULL,
    PRIMARY KEY (consent_id, account_id)
);
