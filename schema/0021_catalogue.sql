-- The catalogue: what a master key alone needs to find every archive again, published under an IPNS name. It is made of segments,
-- each of 1000 numbers of archives. In which of them something has changed since they were published is for the server to tell, so
-- that it does not matter who changed it, services from before this included: `catalogue_mark` is a digest of what the catalogue
-- says of an archive by its row, `catalogued` the mark of what was published.
--
-- For orders the newest catalogue is one row of zip_ipfs_info, of the kind 'catalogue': it has no key, no files, and no folder (0). Its
-- CID is replaced, while no order is under way, by that of a newer one, which is then to be bought; order_info has them all. Its row in
-- label_info has what receipts need of it: custody.json as the label, and the directory's block.

ALTER TABLE zip_ipfs_info
    ADD COLUMN kind            VARCHAR(10) NOT NULL DEFAULT 'archive' COMMENT 'archive; or catalogue: one row, the list of all archives that was ordered last',
    ADD COLUMN catalogued      CHAR(32)    NULL COMMENT 'catalogue_mark of what the catalogue says; NULL: it has to say it anew',
    ADD COLUMN catalogue_mark  CHAR(32)    AS (MD5(CONCAT_WS('|', cid, format, folder_id, zip_name, size, dag_size, files, pinned_at, create_time,
        IF(format = 1, CONCAT_WS('|', `key`, iv, master_key), ''), status, expired_on))) VIRTUAL,
    ADD COLUMN catalogue_stale TINYINT     AS (kind = 'archive' AND cid IS NOT NULL AND (catalogued IS NULL OR catalogued <> catalogue_mark)) VIRTUAL,
    ADD KEY zip_catalogue_stale (catalogue_stale, zip_id);

CREATE TABLE catalogue_segment_info (
    number     BIGINT       NOT NULL PRIMARY KEY COMMENT 'zip_id DIV 1000 of its archives',
    archives   INT          NOT NULL,
    digest     CHAR(64)     NOT NULL COMMENT 'SHA-256 of what is in it, before it is sealed',
    master_key CHAR(16)     NOT NULL COMMENT 'id of the master key under which it is sealed',
    cid        VARCHAR(100) NOT NULL COMMENT 'as it was published last',
    size       INT          NOT NULL COMMENT 'of the sealed bytes',
    checked_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when it was last compared with the rows, whether these seem to have changed or not',
    KEY segment_checked (checked_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE catalogue_info (
    one               TINYINT      NOT NULL DEFAULT 1 PRIMARY KEY COMMENT 'always 1: there is one row',
    cid               VARCHAR(100) NULL COMMENT 'of the newest catalogue that was published: its directory',
    dag_size          BIGINT       NULL COMMENT 'all its blocks together',
    node              VARBINARY(1024) NULL COMMENT 'the block of its directory',
    custody           VARBINARY(1024) NULL COMMENT 'custody.json in it: how far the custody log had come; NULL: there was no line',
    archives          BIGINT       NOT NULL DEFAULT 0 COMMENT 'that it lists',
    master_key        CHAR(16)     NULL COMMENT 'id of the master key under which it is sealed, and from which its name is derived',
    name              VARCHAR(100) NULL COMMENT 'IPNS name under which it is published',
    made_at           DATETIME(6)  NULL COMMENT 'when it was made',
    named_at          DATETIME(6)  NULL COMMENT 'when it was last published under the name, newly made or not',
    complete_at       DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'up to when all changes are known to be published',
    ordered_at        DATETIME(6)  NULL COMMENT 'when the row of zip_ipfs_info was last given a CID to order',
    publish_due       DATETIME(6)  NULL,
    publish_token     CHAR(32)     NULL,
    publish_attempts  INT          NOT NULL DEFAULT 0,
    publish_reason    VARCHAR(500) NULL,
    publish_failed_at DATETIME(6)  NULL,
    KEY catalogue_publish_due (publish_due),
    KEY catalogue_publish_failed (publish_failed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
INSERT INTO catalogue_info (one, publish_due) VALUES (1, UTC_TIMESTAMP(6));

CREATE TABLE catalogue_pin_info (
    cid         VARCHAR(100) NOT NULL PRIMARY KEY COMMENT 'of a catalogue that our IPFS node pins, or may have begun to: noted before that, removed when it was unpinned',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
