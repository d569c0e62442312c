-- Revocation lists that one replica has fetched, for all of them. Each judges them itself.
CREATE TABLE fetched_list (
    address TEXT   NOT NULL PRIMARY KEY,
    fetched BIGINT NOT NULL, -- when; 0 if it has not been
    claimed BIGINT NOT NULL, -- until when a replica is fetching it; 0 if none is
    body    BYTEA  NOT NULL  -- as it came
);
