-- Indexes for what the orderer shows of all archives at once: the order that ends first, those that have run out, those
-- that are short of replicas, and the oldest that still waits for them. The first takes the place of zip_status.

ALTER TABLE zip_ipfs_info
    ADD KEY zip_expiry (status, expires_at),
    ADD KEY zip_replicas (replicas, dropped_at),
    ADD KEY zip_not_dropped (dropped_at, pinned_at),
    DROP KEY zip_status;
