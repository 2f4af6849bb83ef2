-- Several accounts may buy side by side: each archive is at one of them, which renews what it bought. What there was before belongs to
-- the account that bought last.

ALTER TABLE zip_ipfs_info
    ADD COLUMN payer VARCHAR(100) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'account that buys for it; empty while none has';
ALTER TABLE zip_ipfs_info
    ADD KEY zip_payer_turn (payer, order_renews, order_due, expires_at);
UPDATE zip_ipfs_info SET payer = COALESCE((SELECT account FROM order_info ORDER BY order_id DESC LIMIT 1), ''), update_time = update_time
    WHERE payer = '' AND EXISTS (SELECT 1 FROM order_info WHERE order_info.zip_id = zip_ipfs_info.zip_id);
ALTER TABLE renewal_info
    ADD COLUMN payer VARCHAR(100) CHARACTER SET ascii NOT NULL DEFAULT '' COMMENT 'account that renews them',
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (payer, day),
    ADD KEY renewal_day (day);
UPDATE renewal_info SET payer = COALESCE((SELECT account FROM order_info ORDER BY order_id DESC LIMIT 1), '') WHERE payer = '';
ALTER TABLE order_info
    ADD KEY order_spent (account, create_time, status, price);
