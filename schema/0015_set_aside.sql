-- An upload that is not what its row says, or is gone, no longer holds up the others of its folder: the packer sets it
-- aside, and a person decides about it (`roadvault set-aside`). Its row in file_upload_info stays as it was: its folder
-- counts it, its path names its bytes, and zip_id is NULL, for it is in no archive. A folder whose files were all set
-- aside is packed, and has no archive.

CREATE TABLE set_aside_info (
    file_id  BIGINT       NOT NULL PRIMARY KEY,
    reason   VARCHAR(500) NOT NULL COMMENT 'what the packer found',
    found_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    lost_at  DATETIME(6)  NULL COMMENT 'when a person gave the file up: its bytes went to quarantine; NULL: a person has to decide',
    KEY set_aside_waiting (lost_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
