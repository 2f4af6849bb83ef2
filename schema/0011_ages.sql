-- Indexes for what the orderer shows of all archives at once: the order that ends first, those that have run out, those
-- that are short of replicas; the oldest that still waits for them is in zip_never_dropped. The first takes the place of zip_status.

ALTER TABLE zip_ipfs_info
    ADD KEY zip_expiry (status, expires_at),
    ADD KEY zip_replicas (replicas, dropped_at),
    DROP KEY zip_status;
