-- Authorisations that came to nothing, by when they were last acted on.
CREATE INDEX authorisation_by_last_action ON authorisation (last_action, id);
