-- Sealed records, each of a kind. What is in them, only the program's key opens.
CREATE TABLE record (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;

-- The last version that was given out: none is given out twice, not even to a record that was removed and made again.
CREATE TABLE version (last INTEGER NOT NULL);
INSERT INTO version (last) VALUES (0);
