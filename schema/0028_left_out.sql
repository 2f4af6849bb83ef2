-- What a recovery knows of and did not bring back. The next catalogue takes the place of the one that it came from, under the same name,
-- and nothing else may know the CIDs and keys of these: so it goes on naming them, and waits while nobody knows what it would have to name.
CREATE TABLE left_out_info (
    cid         VARCHAR(100) NOT NULL PRIMARY KEY,
    kind        VARCHAR(10)  NOT NULL COMMENT 'archive; or what could not be read, or nobody has read yet: segment, log (the custody log), catalogue',
    zip_id      BIGINT       NULL COMMENT 'the archive''s number',
    segment     BIGINT       NULL COMMENT 'the segment''s number',
    archives    BIGINT       NOT NULL COMMENT 'how many archives it stands for',
    record      MEDIUMTEXT   NULL COMMENT 'what the catalogue said of the archive, as JSON',
    reason      VARCHAR(500) NOT NULL COMMENT 'why it did not come back',
    catalogued  TINYINT      NOT NULL DEFAULT 0 COMMENT '1: our own catalogue names the archive, with that record',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY left_out_archive (zip_id),
    KEY left_out_catalogued (catalogued, zip_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
ALTER TABLE catalogue_info
    ADD COLUMN follows VARCHAR(100) NULL COMMENT 'the catalogue that this database was recovered from last, or that a person gave up: ours may take its name';
-- What came back, by whatever way and under whichever number, is known by its CID.
ALTER TABLE zip_ipfs_info ADD KEY zip_cid (cid);
