-- Looking at archives and buying for them are two stages: `watch` looks at many at a time, `order` buys, one purchase at a time for
-- each account. order_due says when an archive should be bought again if no look says so sooner: it is written with each look, so
-- that an orderer from before, or one whose looks are in trouble, renews in time all the same. What renews an order is bought before
-- what is new, and what ends first goes first.
--
-- Orderers from before go by order_due alone, and may run meanwhile: what they look at, and what is looked at here, is the same.

ALTER TABLE zip_ipfs_info
    ADD COLUMN watch_due       DATETIME(6)  NULL,
    ADD COLUMN watch_token     CHAR(32)     NULL,
    ADD COLUMN watch_attempts  INT          NOT NULL DEFAULT 0,
    ADD COLUMN watch_reason    VARCHAR(500) NULL,
    ADD COLUMN watch_failed_at DATETIME(6)  NULL,
    ADD COLUMN order_renews    TINYINT AS (expires_at IS NOT NULL) VIRTUAL COMMENT 'whether what it is to be bought for has run, or runs',
    MODIFY COLUMN order_due    DATETIME(6)  NULL COMMENT 'when there is something to settle or to buy, as far as is known',
    ADD KEY zip_watch_due (watch_due),
    ADD KEY zip_watch_failed (watch_failed_at),
    ADD KEY zip_watch_token (watch_token),
    ADD KEY zip_order_turn (order_renews, order_due, expires_at);
UPDATE zip_ipfs_info SET watch_due = COALESCE(order_due, UTC_TIMESTAMP(6))
    WHERE cid IS NOT NULL AND (status <> 0 OR expires_at IS NOT NULL);
