-- An archive explains itself: on IPFS it is a directory of the archive and its label, which says, in public, what a master key opens it
-- with. The label's bytes, and the directory's, are kept for receipts; in a table of their own, so that lists of archives don't carry them.
--
-- Services from before go on meanwhile: archives that an old packer writes have no label; of those that an old pinner puts on IPFS the
-- CID is the file's, label or not. So what a CID is of is written with it, by whoever writes it.

ALTER TABLE zip_ipfs_info
    ADD COLUMN format TINYINT NOT NULL DEFAULT 1 COMMENT 'of what is on IPFS: 1 cid is the archive''s, 2 it is the directory''s with archive.7z.enc and label.json; written with cid';
CREATE TABLE label_info (
    zip_id BIGINT         NOT NULL PRIMARY KEY,
    label  VARBINARY(1024) NOT NULL COMMENT 'label.json, as it is on IPFS',
    node   VARBINARY(1024) NULL COMMENT 'the block of the directory that links archive and label: its SHA-256 is the CID''s; NULL until that is known'
) ENGINE = InnoDB;
