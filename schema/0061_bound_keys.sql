-- A period key that wraps the key of an archive which is being sealed must not be destroyed meanwhile: who seals writes its row, since a
-- lock on it would bind nobody at another node of a cluster.
ALTER TABLE period_key_info
    ADD COLUMN held_at DATETIME(6) NULL COMMENT 'when an archive was last sealed with it';
