-- zip_ipfs_info.enough_at and replicated_at, from before evidence_info, are taken back once and for all: no service writes them from
-- here on, and a pinner from before the table, which goes by them, drops nothing. Both stay, since an orderer from before this
-- migration writes NULL to them; a later contracting migration drops them.

UPDATE zip_ipfs_info SET enough_at = NULL, replicated_at = NULL WHERE enough_at IS NOT NULL OR replicated_at IS NOT NULL;
ALTER TABLE zip_ipfs_info
    DROP KEY zip_waiting_for_replicas,
    MODIFY COLUMN enough_at     DATETIME(6) NULL COMMENT 'from before evidence_info; always NULL, to be dropped',
    MODIFY COLUMN replicated_at DATETIME(6) NULL COMMENT 'from before evidence_info; always NULL, to be dropped';
