-- A row for each day (UTC), summed by one ingest at a time: plots read these alone. Sums go along the keys below, over folders,
-- archives and orders, never over files.

CREATE TABLE day_info (
    day              DATE        NOT NULL PRIMARY KEY,
    bytes_in         BIGINT      NOT NULL DEFAULT 0 COMMENT 'of files that were received',
    files_in         BIGINT      NOT NULL DEFAULT 0,
    carried_bytes    BIGINT      NULL COMMENT 'of these, what was in folders that were closed later, or are open; NULL: not counted yet',
    carried_files    BIGINT      NULL,
    bytes_archived   BIGINT      NOT NULL DEFAULT 0 COMMENT 'of archives that came to IPFS',
    archives         BIGINT      NOT NULL DEFAULT 0,
    replicas_enough  BIGINT      NOT NULL DEFAULT 0 COMMENT 'archives with an order and more replicas than the threshold, when last counted on that day',
    replicas_short   BIGINT      NOT NULL DEFAULT 0 COMMENT 'with no more, up to 10 000',
    spent_planck     DECIMAL(39) NOT NULL DEFAULT 0 COMMENT 'of purchases that were made then, as quoted; of those that bought nothing the fee alone',
    disk_free_bytes  BIGINT      NULL COMMENT 'of the data directory, when last seen on that day',
    disk_total_bytes BIGINT      NULL,
    update_time      DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB;
ALTER TABLE folder_info ADD KEY folder_closed (closed_at);
ALTER TABLE zip_ipfs_info
    ADD KEY zip_came (pinned_at, kind, size),
    ADD KEY zip_short (status, replicas, pinned_at);
