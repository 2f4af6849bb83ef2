-- What a store that was written off took with it, so that it can be said file by file, and taken back if its disk comes
-- back. Files that are lost have their rows in set_aside_info, as those that a person gave up.

CREATE TABLE lost_zip_info (
    zip_id             BIGINT       NOT NULL PRIMARY KEY,
    store              VARCHAR(32)  CHARACTER SET ascii NOT NULL COMMENT 'that was lost before the network had the archive',
    path               VARCHAR(200) NULL COMMENT 'where its local copy lay there',
    uploads_dropped_at DATETIME(6)  NULL COMMENT 'as it was in zip_ipfs_info',
    lost_at            DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY lost_zip_store (store, zip_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE lost_upload_info (
    upload_id   CHAR(32)      NOT NULL PRIMARY KEY COMMENT 'of a resumable upload that was not whole: its client begins anew',
    store       VARCHAR(32)   CHARACTER SET ascii NOT NULL COMMENT 'that was lost with it',
    size        BIGINT        NULL COMMENT 'how long it was going to be, if that was known',
    came        BIGINT        NOT NULL COMMENT 'bytes that had come',
    metadata    TEXT          NOT NULL COMMENT 'Upload-Metadata, as it came',
    camera      VARCHAR(100)  NULL,
    peer        VARCHAR(64)   NULL COMMENT 'address that it was begun from',
    begun_at    DATETIME(6)   NOT NULL,
    lost_at     DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY lost_upload_store (store, upload_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

ALTER TABLE set_aside_info
    ADD COLUMN at_store   VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'where the upload lies',
    ADD COLUMN lost_store VARCHAR(32) CHARACTER SET ascii NULL COMMENT 'that was lost with the file; NULL: it was set aside for another reason',
    ADD COLUMN lost_path  VARCHAR(200) NULL COMMENT 'where its bytes lay there';
ALTER TABLE set_aside_info
    ADD KEY set_aside_at_store (at_store, lost_at),
    ADD KEY set_aside_lost_store (lost_store, file_id);
ALTER TABLE store_info
    ADD COLUMN upload_url VARCHAR(300) NULL COMMENT 'where clients reach its ingest, to go on with an upload; NULL: it is not told';
ALTER TABLE zip_ipfs_info
    ADD KEY zip_store_restored (store, restored_at);
ALTER TABLE upload_key_info
    ADD KEY upload_key_file (file_id);
