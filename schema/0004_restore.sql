-- An archive whose replicas fall under the floor after its local copies went is fetched back and pinned again; and an
-- archive that stays under the threshold is listed with its age.

ALTER TABLE zip_ipfs_info
    ADD COLUMN terms_wanted      INT          NOT NULL DEFAULT 1 COMMENT 'purchases that there have to be; order_info.term counts them',
    ADD COLUMN restored_at       DATETIME(6)  NULL COMMENT 'when our IPFS node held it again, after local copies had gone',
    ADD COLUMN restore_due       DATETIME(6)  NULL,
    ADD COLUMN restore_token     CHAR(32)     NULL,
    ADD COLUMN restore_attempts  INT          NOT NULL DEFAULT 0,
    ADD COLUMN restore_reason    VARCHAR(500) NULL,
    ADD COLUMN restore_failed_at DATETIME(6)  NULL,
    ADD KEY zip_restore_due (restore_due),
    ADD KEY zip_restore_failed (restore_failed_at),
    ADD KEY zip_waiting_for_replicas (replicated_at, pinned_at);
