-- How many orders end on which day, so that the reserve for renewals costs the same to find out however large the archive.

CREATE TABLE renewal_info (
    day      BIGINT NOT NULL PRIMARY KEY COMMENT 'expired_on DIV 14400: days of blocks of 6 s',
    archives BIGINT NOT NULL             COMMENT 'whose order ends then; kept by crust-orderer with every change of expired_on'
) ENGINE = InnoDB;
INSERT INTO renewal_info (day, archives)
    SELECT expired_on DIV 14400, COUNT(*) FROM zip_ipfs_info WHERE expired_on IS NOT NULL GROUP BY expired_on DIV 14400;
ALTER TABLE zip_ipfs_info DROP KEY zip_expired_on;
