-- Revocation lists that one replica has fetched, for all of them. Each judges them itself.
CREATE TABLE fetched_list (
    address TEXT   NOT NULL PRIMARY KEY,
    number  BIGINT NOT NULL, -- how often it has been fetched
    fetched BIGINT NOT NULL, -- when
    claimed BIGINT NOT NULL, -- until when a replica is fetching it; 0 if none is
    body    BLOB   NOT NULL  -- as it came
);
