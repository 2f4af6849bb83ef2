-- What ties the custody log to the chain: the public part of each catalogue that was to be ordered, for receipts. (label_info has no row of
-- the catalogue any more.)

CREATE TABLE catalogue_order_info (
    cid         VARCHAR(100)    NOT NULL PRIMARY KEY COMMENT 'of a catalogue that was given to be ordered; order_info says whether it was bought',
    custody     VARBINARY(1024) NOT NULL COMMENT 'custody.json in it: how far the custody log had come',
    node        VARBINARY(1024) NOT NULL COMMENT 'the block of its directory, which links custody.json',
    create_time DATETIME(6)     NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
INSERT INTO catalogue_order_info (cid, custody, node)
    SELECT cid, label, node FROM zip_ipfs_info JOIN label_info USING (zip_id) WHERE folder_id = 0 AND label <> '' AND node IS NOT NULL;

-- The custody log itself is in the catalogue, in slices that don't change once full.
CREATE TABLE catalogue_log_info (
    level      TINYINT      NOT NULL COMMENT '0: a slice of the custody log that is full; 1: the directory of 1024 of these',
    number     BIGINT       NOT NULL COMMENT 'which of its level, from 0',
    last       BIGINT       NOT NULL COMMENT 'position behind its last line; it begins where the one before ends',
    master_key CHAR(16)     NOT NULL COMMENT 'id of the master key under which it is sealed',
    cid        VARCHAR(100) NOT NULL COMMENT 'as it was published last',
    size       BIGINT       NOT NULL COMMENT 'of all its blocks',
    PRIMARY KEY (level, number)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Lines that are chained from now on have a salt in what is hashed. Lines from before have none, and stay as they are.
ALTER TABLE custody_info
    ADD COLUMN salt BINARY(16) NULL COMMENT 'in what is hashed, so that hashes confirm no guess at the line; NULL: chained before there were salts, or not chained yet';
