-- That the network holds an archive is evidence of its own: which market counted how many replicas at which finalized
-- block, and how and when bytes of it came back. It is void once the market no longer says so; local copies go by valid
-- evidence alone, and the pinner looks at it once more before it removes anything.
--
-- zip_ipfs_info.enough_at and replicated_at said some of this before. Nothing writes them any more but to take them back, so
-- that a pinner from before this table drops nothing on new evidence, and nothing on evidence that is void. A later
-- contracting migration drops both, and the index zip_waiting_for_replicas with them.

CREATE TABLE evidence_info (
    evidence_id BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    zip_id      BIGINT       NOT NULL,
    valid       TINYINT      NULL DEFAULT 1 COMMENT 'NULL once void: an archive has one valid evidence at most',
    market      VARCHAR(100) NULL COMMENT 'which counted, as in order_info.market; NULL: from before this table',
    block       BIGINT       NULL COMMENT 'the finalized height at which replicas were last counted; NULL: from before this table',
    replicas    INT          NOT NULL COMMENT 'that were counted there: more than the threshold',
    counted_at  DATETIME(6)  NOT NULL COMMENT 'when they were last counted, at a height that is new',
    proven_at   DATETIME(6)  NULL COMMENT 'when files of the archive last came back from the network as they were archived',
    proven_by   VARCHAR(300) NULL COMMENT 'how, and through which host',
    members     INT          NULL COMMENT 'files that came back for that proof',
    bytes       BIGINT       NULL COMMENT 'their length together',
    void_at     DATETIME(6)  NULL,
    void_reason VARCHAR(500) NULL COMMENT 'why it is evidence no more',
    update_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when enough replicas were first counted',
    UNIQUE KEY one_valid_evidence_for_each_archive (zip_id, valid)
) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
INSERT INTO evidence_info (zip_id, market, replicas, counted_at, proven_at, proven_by, create_time)
    SELECT zip_id,
           (SELECT market FROM order_info WHERE order_info.zip_id = zip.zip_id AND status = 1 ORDER BY term DESC LIMIT 1),
           replicas, COALESCE(enough_at, replicated_at), replicated_at,
           IF(replicated_at IS NULL, NULL, 'not noted: proven before evidence was kept'), COALESCE(enough_at, replicated_at)
    FROM zip_ipfs_info AS zip WHERE enough_at IS NOT NULL OR replicated_at IS NOT NULL;

-- For the archives whose local copies were never dropped, the longest on IPFS first.
ALTER TABLE zip_ipfs_info
    ADD KEY zip_never_dropped (dropped_at, pinned_at),
    ADD KEY zip_restored (restored_at),
    MODIFY COLUMN enough_at     DATETIME(6) NULL COMMENT 'from before evidence_info; taken back, never written',
    MODIFY COLUMN replicated_at DATETIME(6) NULL COMMENT 'from before evidence_info; taken back, never written';
