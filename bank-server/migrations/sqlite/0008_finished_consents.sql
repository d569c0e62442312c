-- What has been over for long is found by when it was last acted on.
CREATE INDEX consent_by_last_action ON consent (last_action, id);
