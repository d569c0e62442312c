-- A session begins with both elements; one that is for an authorisation alone keeps which, and by which method.
DELETE FROM session;
ALTER TABLE session ADD COLUMN authorisation TEXT COLLATE "C";
ALTER TABLE session ADD COLUMN method TEXT COLLATE "C";
