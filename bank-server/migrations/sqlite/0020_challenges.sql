-- Challenges of the bank's own SCA methods, one for each authorisation.
-- State: 'claimed' before the service is called, 'sent' after it, 'none' if there is nothing to send, 'over' when it has
-- ended without an answer.
ALTER TABLE authorisation ADD COLUMN challenge TEXT;
-- Id of the request that has started it.
ALTER TABLE authorisation ADD COLUMN challenge_request TEXT;
-- When it was claimed last, in seconds since 1970, and how often.
ALTER TABLE authorisation ADD COLUMN challenge_claimed INTEGER;
ALTER TABLE authorisation ADD COLUMN challenges INTEGER NOT NULL DEFAULT 0;
