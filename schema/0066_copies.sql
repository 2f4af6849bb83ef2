-- Reserve copies: while the network has not got an upload, another store may have a copy of it (ROADVAULT_UPLOAD_COPIES).

CREATE TABLE copy_info (
    file_id     BIGINT       NOT NULL PRIMARY KEY,
    store       VARCHAR(32)  CHARACTER SET ascii NOT NULL COMMENT 'that has the copy',
    path        VARCHAR(200) NOT NULL COMMENT 'of the copy, below that store''s data directory',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY copy_path (path),
    KEY copy_store (store, file_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
ALTER TABLE store_info
    ADD COLUMN copy_url  VARCHAR(300) NULL COMMENT 'where its ingest takes copies of other stores'' uploads',
    ADD COLUMN copies_at DATETIME(6)  NULL COMMENT 'when it last said that it does';
