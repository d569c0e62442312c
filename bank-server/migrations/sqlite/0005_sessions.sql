-- Who is logged in to online banking. Of the tokens in the cookies only SHA-256 is kept. Times are seconds since 1970.

CREATE TABLE session (
    digest    TEXT   NOT NULL PRIMARY KEY, -- of the token
    psu       TEXT   NOT NULL,
    level     TEXT   NOT NULL,             -- password: the second factor is still to come; full
    begun     BIGINT NOT NULL,
    last_seen BIGINT NOT NULL
);

CREATE INDEX session_by_psu ON session (psu, last_seen);
CREATE INDEX session_by_last_seen ON session (last_seen);
