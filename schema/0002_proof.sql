-- Before local copies go, members of the archive are fetched through a path that has no local copy, and checked.
-- replicated_at is written only after that proof; enough_at says when the market counted enough replicas.

ALTER TABLE zip_ipfs_info
    ADD COLUMN enough_at       DATETIME(6)  NULL COMMENT 'when a finalized block first counted enough replicas',
    ADD COLUMN prove_due       DATETIME(6)  NULL,
    ADD COLUMN prove_token     CHAR(32)     NULL,
    ADD COLUMN prove_attempts  INT          NOT NULL DEFAULT 0,
    ADD COLUMN prove_reason    VARCHAR(500) NULL,
    ADD COLUMN prove_failed_at DATETIME(6)  NULL,
    MODIFY COLUMN replicated_at DATETIME(6) NULL COMMENT 'when the network was proven to hold the archive',
    ADD KEY zip_prove_due (prove_due),
    ADD KEY zip_prove_failed (prove_failed_at);
