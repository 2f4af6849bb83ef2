-- A dump that is restored together with its data directory's identity.json looks like a system that was switched off. What was given out
-- since then nobody here knows: so after each time without any service numbers go on by the clock. Services from before this go on as ever.

ALTER TABLE identity_info
    ADD COLUMN seen_at DATETIME(6) NULL COMMENT 'when a service worked with this database last, to a minute';
