-- Stores: a store is one data directory with the Kubo node beside it, and the services that have it mounted. What lies on a disk is
-- worked on by its own store's services, which find it by keys that begin with the store. What there was before is the store 'main',
-- and what services from before this write is so, too: they may run beside, as long as there is no other store.
--
-- identity_info and picture_info have a row for each store, with the store's number in place of 1.

CREATE TABLE store_info (
    number      SMALLINT     NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'of its rows in identity_info and picture_info; main is 1',
    name        VARCHAR(32)  CHARACTER SET ascii NOT NULL COMMENT 'ROADVAULT_STORE of its services',
    state       TINYINT      NOT NULL DEFAULT 0 COMMENT '0 open, 1 draining: it takes no uploads, 2 drained, 3 lost: written off',
    link_url    VARCHAR(300) NULL COMMENT 'where its door answers: links to what it extracted begin with this; NULL: as ROADVAULT_LINK_BASE_URL says',
    stream_url  VARCHAR(300) NULL COMMENT 'where its retriever gives videos to doors',
    heard_at    DATETIME(6)  NULL COMMENT 'when its retriever last said that it takes requests',
    changed_at  DATETIME(6)  NULL COMMENT 'when its state was last changed',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY store_name (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
INSERT INTO store_info (number, name) VALUES (1, 'main');

ALTER TABLE folder_info
    ADD COLUMN store VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'where its uploads are';
ALTER TABLE folder_info
    ADD KEY folder_store_pack (store, pack_due),
    ADD KEY folder_store_status (store, status, bytes);
ALTER TABLE zip_ipfs_info
    ADD COLUMN store VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'where its local copy is, and whose Kubo node keeps it';
ALTER TABLE zip_ipfs_info
    ADD KEY zip_store_path (store, path),
    ADD KEY zip_store_pin (store, pin_due, size),
    ADD KEY zip_store_drop (store, drop_due),
    ADD KEY zip_store_restore (store, restore_due),
    ADD KEY zip_store_inspect (store, inspect_due);
ALTER TABLE download_info
    ADD COLUMN store VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'that brings the file back, and then has the extraction';
ALTER TABLE download_info
    ADD KEY download_store_fetch (store, fetch_due),
    ADD KEY download_store_expire (store, expire_due);
ALTER TABLE retention_info
    ADD COLUMN store VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'of its archive: whose copies are destroyed with its key';
ALTER TABLE retention_info
    ADD KEY retention_store_shred (store, shred_due);
ALTER TABLE video_info
    ADD COLUMN store VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'where its upload came to, and its pictures are';
ALTER TABLE video_info
    ADD KEY video_store_look (store, look_due),
    ADD KEY video_store_seen (store, seen_at);
ALTER TABLE upload_info
    ADD COLUMN store VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'where its bytes are';
ALTER TABLE upload_info
    ADD KEY upload_store_expires (store, expires_at),
    ADD KEY upload_store_open (store, file_id);
ALTER TABLE catalogue_info
    ADD COLUMN store VARCHAR(32) CHARACTER SET ascii NOT NULL DEFAULT 'main' COMMENT 'whose Kubo node publishes it';
ALTER TABLE sweep_info
    MODIFY COLUMN directory VARCHAR(60) NOT NULL COMMENT 'below the data directory: received, archives or downloads; of another store than main north/received';
ALTER TABLE identity_info
    MODIFY COLUMN one SMALLINT NOT NULL DEFAULT 1 COMMENT 'the number of the store whose data directory it is; what is of the database as a whole is in row 1';
ALTER TABLE picture_info
    MODIFY COLUMN one SMALLINT NOT NULL DEFAULT 1 COMMENT 'the number of the store whose pictures these are; how far files have their rows is in row 1';
