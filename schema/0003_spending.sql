-- Indexes for what the orderer asks about money: spending since a time, renewals up to a height.

ALTER TABLE order_info ADD KEY order_created (create_time, status, price);
ALTER TABLE zip_ipfs_info ADD KEY zip_expired_on (expired_on);
