-- Requests to the identity provider that wait for the customer's return: each is valid once, and for some minutes.
-- What is asked is sealed; the state, which the customer's browser brings back, is stored as its SHA-256.
CREATE TABLE identity_request (
    state  TEXT   NOT NULL PRIMARY KEY,
    sealed TEXT   NOT NULL,
    begun  BIGINT NOT NULL
);
CREATE INDEX identity_request_by_begin ON identity_request (begun);

-- Authentications that have logged a customer in or approved a consent: each approves at most once.
-- The digest is SHA-256 of customer and time, in hex.
CREATE TABLE identity_authentication (
    digest TEXT PRIMARY KEY,
    -- When it was used, in seconds since 1970.
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_authentication_by_use ON identity_authentication (used);
