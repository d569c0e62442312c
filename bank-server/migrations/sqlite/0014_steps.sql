-- What the customer of an authorisation has been shown, by the status that the consent had then: once another holder has
-- approved, a consent opens what that one has chosen. NULL: nothing yet.
ALTER TABLE authorisation ADD COLUMN shown TEXT;

-- 1: the password that came with its start was wrong. The same request again is not counted as another attempt.
ALTER TABLE authorisation ADD COLUMN refused BIGINT NOT NULL DEFAULT 0;
