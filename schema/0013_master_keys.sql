-- Which master key wraps an archive's key, so that one that is missing from the settings can be named, and one that
-- leaked be retired (`roadvault rewrap`). NULL: from before this column; the packer finds out.

ALTER TABLE zip_ipfs_info
    ADD COLUMN master_key CHAR(16) NULL COMMENT 'id of the master key that wraps `key`: 64 bits of a hash of it' AFTER `key`,
    ADD KEY zip_master_key (master_key, zip_id);
