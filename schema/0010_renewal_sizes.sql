-- The reserve is priced at the sizes of what is to be renewed; the latest block of a market's orders shows whether its
-- chain still has its past; and calculated_at is not the order's block.

-- Archives are read without locks, which an orderer that runs meanwhile would wait for.
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
ALTER TABLE renewal_info
    ADD COLUMN mebibytes BIGINT NOT NULL DEFAULT 0 COMMENT 'sizes of these archives (dag_size) in MiB, rounded up for each';
UPDATE renewal_info, (
    SELECT expired_on DIV 14400 AS ends_on, SUM(CEIL(dag_size / 1048576)) AS mebibytes
    FROM zip_ipfs_info WHERE expired_on IS NOT NULL GROUP BY expired_on DIV 14400
) AS ending SET renewal_info.mebibytes = ending.mebibytes WHERE renewal_info.day = ending.ends_on;
ALTER TABLE order_info ADD KEY order_market_block (market, block);
ALTER TABLE zip_ipfs_info
    MODIFY COLUMN calculated_at BIGINT NULL COMMENT 'block of the latest order or reward calculation, as the market says: it moves, nothing is decided by it';
