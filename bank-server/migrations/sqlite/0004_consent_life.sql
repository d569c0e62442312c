-- The life of a consent, how often it is used, and who the TPPs are. Times are seconds since 1970, dates are YYYY-MM-DD,
-- truth is 0 or 1.

ALTER TABLE consent ADD COLUMN created BIGINT NOT NULL DEFAULT 0;
ALTER TABLE consent ADD COLUMN approve_by BIGINT NOT NULL DEFAULT 0;  -- not approved by then, it lapses
ALTER TABLE consent ADD COLUMN approvals_needed BIGINT NOT NULL DEFAULT 1;
ALTER TABLE consent ADD COLUMN authenticated BIGINT;                  -- when a customer last proved for it who they are
ALTER TABLE consent ADD COLUMN last_use BIGINT;
ALTER TABLE consent ADD COLUMN ends BIGINT;                           -- for one read: that has begun, and ends then
-- For an authorisation that is started later: how, and where the customer goes afterwards.
ALTER TABLE consent ADD COLUMN approach TEXT;
ALTER TABLE consent ADD COLUMN redirect_uri TEXT;
ALTER TABLE consent ADD COLUMN nok_redirect_uri TEXT;

UPDATE consent SET created = last_action, approve_by = last_action + 3600;
UPDATE consent SET authenticated = last_action WHERE status = 'valid';

-- What a customer has given, and which of it a new one replaces.
CREATE INDEX consent_by_customer ON consent (psu, tpp, status);

ALTER TABLE consent_account ADD COLUMN details BIGINT NOT NULL DEFAULT 1;    -- 0: in the list of accounts, and no more
ALTER TABLE consent_account ADD COLUMN owner_name BIGINT NOT NULL DEFAULT 0;
-- For one read: what of it has been read.
ALTER TABLE consent_account ADD COLUMN seen BIGINT NOT NULL DEFAULT 0;
ALTER TABLE consent_account ADD COLUMN seen_balances BIGINT NOT NULL DEFAULT 0;

-- Reads that are counted, of the last day on which there was one.
CREATE TABLE consent_use (
    consent_id TEXT   NOT NULL REFERENCES consent (id),
    endpoint   TEXT   NOT NULL,
    account    TEXT   NOT NULL, -- empty for a list of accounts
    item       TEXT   NOT NULL, -- the transaction, where it is one
    day        TEXT   NOT NULL, -- of the bank's time zone; empty if it is once and for all
    count      BIGINT NOT NULL,
    PRIMARY KEY (consent_id, endpoint, account, item)
);

-- What certificate and register said of a TPP when it last asked for a consent.
CREATE TABLE tpp (
    organisation TEXT   NOT NULL PRIMARY KEY,
    name         TEXT   NOT NULL, -- legal name
    authority    TEXT   NOT NULL, -- the id of the authority that licensed it
    updated      BIGINT NOT NULL
);
