-- Archives can have an end. Those that have one when they are packed are wrapped by a *period key*, one for each month in which archives
-- end: in their rows (zip_ipfs_info.master_key is then the period key's id) and on their labels. It is on no network, so that with it
-- goes what was published. An end can be moved, and a hold stops it.
--
-- Services from before this know nothing of period keys: they wait for such archives as for those of a master key that the settings
-- lack. So archives get an end only once all services are of this version (ROADVAULT_RETENTION_DAYS, `roadvault retention set`).

CREATE TABLE period_key_info (
    period_key   CHAR(16)     NOT NULL PRIMARY KEY COMMENT 'its id: 64 bits of a hash of it, as of a master key',
    period       CHAR(7)      NOT NULL COMMENT 'the month in which archives end that it was made for, UTC: 2027-03',
    wraps        TINYINT      NULL DEFAULT 1 COMMENT 'whether it wraps new archives: NULL of one that was brought back, and only opens',
    `key`        VARCHAR(255) NULL COMMENT 'the key, wrapped by a master key (Fernet); NULL once destroyed',
    master_key   CHAR(16)     NULL COMMENT 'id of that master key',
    kept_at      DATETIME(6)  NULL COMMENT 'when the keyring had it in all places; before that it wraps nothing',
    destroyed_at DATETIME(6)  NULL,
    create_time  DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY one_wraps_for_each_period (period, wraps)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE retention_info (
    zip_id          BIGINT       NOT NULL PRIMARY KEY,
    period_key      CHAR(16)     NULL COMMENT 'that wraps, or wrapped, its key; NULL: packed without an end, its label opens with the master key',
    ends_at         DATETIME(6)  NULL COMMENT 'NULL: kept for ever',
    shredded_at     DATETIME(6)  NULL COMMENT 'when its key in the row was destroyed',
    shred_due       DATETIME(6)  NULL,
    shred_token     CHAR(32)     NULL,
    shred_attempts  INT          NOT NULL DEFAULT 0,
    shred_reason    VARCHAR(500) NULL,
    shred_failed_at DATETIME(6)  NULL,
    update_time     DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    create_time     DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY retention_shred_due (shred_due),
    KEY retention_shred_token (shred_token),
    KEY retention_shred_failed (shred_failed_at),
    KEY retention_ends (shredded_at, ends_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE hold_info (
    hold_id      BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    zip_id       BIGINT       NULL COMMENT 'the archive that it keeps; NULL while its file is not packed',
    file_id      BIGINT       NULL COMMENT 'for whose sake; NULL: the whole archive',
    active       TINYINT      NULL DEFAULT 1 COMMENT 'NULL once released',
    reason       VARCHAR(500) NOT NULL,
    released_at  DATETIME(6)  NULL,
    released_why VARCHAR(500) NULL,
    create_time  DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY hold_archive (zip_id, active),
    KEY hold_file (file_id, active),
    KEY hold_active (active, hold_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
ALTER TABLE zip_ipfs_info
    MODIFY COLUMN status TINYINT NOT NULL DEFAULT 0 COMMENT '0 not ordered, 1 ordered, 2 order failed, 3 live, 4 expired, 5 ended';
