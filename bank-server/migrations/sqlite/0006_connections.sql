-- What customers have connected at other banks. Times are seconds since 1970, dates are YYYY-MM-DD. What is sealed opens
-- with the bank's own key alone.

CREATE TABLE connection (
    id            TEXT   NOT NULL PRIMARY KEY,
    psu           TEXT   NOT NULL,       -- whose accounts they are, here
    bank          TEXT   NOT NULL,       -- the organisation id of the other bank
    status        TEXT   NOT NULL,       -- asked: waits for her approval there; running; ended: the other bank gives nothing more
    state         TEXT   NOT NULL,       -- SHA-256 of what she brings back from there
    begun         BIGINT NOT NULL,
    returned      BIGINT,                -- when she came back with it: it is good for once
    consent       TEXT,                  -- sealed: the id of the consent there
    authorisation TEXT,                  -- the id of its authorisation
    link          TEXT,                  -- sealed: where she approves it
    valid_until   TEXT,                  -- its last day
    data          TEXT,                  -- sealed: what was fetched last, as JSON
    fetched       BIGINT,                -- when
    tried         BIGINT,                -- when it was last tried
    problem       TEXT                   -- what went wrong then; why it has ended
);

CREATE UNIQUE INDEX connection_by_state ON connection (state);

-- A renewal is asked for beside the connection that runs, and takes its place when it is approved.
CREATE UNIQUE INDEX connection_by_psu ON connection (psu, bank, status);

-- What is to be fetched again while the customer is away.
CREATE INDEX connection_by_last_try ON connection (status, tried);
