-- What is proven once is not proven for ever: archives are audited again and again, on the network by crust-orderer
-- (`audit`), and what is kept here by the pinner (`inspect`). audit_info has what the latest of each came to, audit_day how
-- much was read for them on a day (UTC), of all processes together.
--
-- node_info has the IPFS nodes of ours that hold archives, as pinner and retriever write them down: what comes from one of
-- these proves nothing.

CREATE TABLE node_info (
    peer_id     VARCHAR(200) NOT NULL PRIMARY KEY COMMENT 'its name among its peers',
    seen_at     DATETIME(6)  NOT NULL COMMENT 'when a service of ours last worked with it',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY node_seen (seen_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

ALTER TABLE zip_ipfs_info
    ADD COLUMN audit_due         DATETIME(6)  NULL,
    ADD COLUMN audit_token       CHAR(32)     NULL,
    ADD COLUMN audit_attempts    INT          NOT NULL DEFAULT 0,
    ADD COLUMN audit_reason      VARCHAR(500) NULL,
    ADD COLUMN audit_failed_at   DATETIME(6)  NULL,
    ADD COLUMN inspect_due       DATETIME(6)  NULL,
    ADD COLUMN inspect_token     CHAR(32)     NULL,
    ADD COLUMN inspect_attempts  INT          NOT NULL DEFAULT 0,
    ADD COLUMN inspect_reason    VARCHAR(500) NULL,
    ADD COLUMN inspect_failed_at DATETIME(6)  NULL,
    ADD KEY zip_audit_due (audit_due),
    ADD KEY zip_audit_failed (audit_failed_at),
    ADD KEY zip_audit_token (audit_token),
    ADD KEY zip_inspect_due (inspect_due),
    ADD KEY zip_inspect_failed (inspect_failed_at),
    ADD KEY zip_inspect_token (inspect_token);

CREATE TABLE audit_info (
    zip_id     BIGINT       NOT NULL,
    place      VARCHAR(10)  NOT NULL COMMENT 'network, or local: our disk and our IPFS node',
    audited_at DATETIME(6)  NOT NULL COMMENT 'when it was last read; a proof, and a pinning, read it, too',
    sound      TINYINT      NOT NULL COMMENT '1: all that was read was as it was archived',
    sound_at   DATETIME(6)  NULL COMMENT 'when it was last found so',
    members    INT          NOT NULL COMMENT 'files that were read whole, and have their SHA-256',
    bytes      BIGINT       NOT NULL COMMENT 'that were read, each with the hash of its block',
    way        VARCHAR(300) NOT NULL COMMENT 'how, and through which host',
    reason     VARCHAR(500) NULL COMMENT 'what was found, if it was not sound',
    PRIMARY KEY (zip_id, place),
    KEY audit_oldest (place, audited_at),
    KEY audit_unsound (place, sound, audited_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE audit_day (
    day   DATE        NOT NULL,
    place VARCHAR(10) NOT NULL,
    bytes BIGINT      NOT NULL COMMENT 'read, or about to be',
    PRIMARY KEY (day, place)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What was proven before counts as audited then; the first audits are spread over 30 days.
INSERT INTO audit_info (zip_id, place, audited_at, sound, sound_at, members, bytes, way)
    SELECT zip_id, 'network', proven_at, 1, proven_at, COALESCE(members, 0), COALESCE(bytes, 0), COALESCE(proven_by, '')
    FROM evidence_info WHERE valid = 1 AND proven_at IS NOT NULL;
INSERT INTO audit_info (zip_id, place, audited_at, sound, sound_at, members, bytes, way)
    SELECT zip_id, 'local', COALESCE(pinned_at, create_time), 1, COALESCE(pinned_at, create_time), files, size, 'pinned'
    FROM zip_ipfs_info WHERE cid IS NOT NULL AND path IS NOT NULL;
UPDATE zip_ipfs_info SET audit_due = UTC_TIMESTAMP(6) + INTERVAL MOD(zip_id * 7919, 2592000) SECOND
    WHERE EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1 AND proven_at IS NOT NULL);
UPDATE zip_ipfs_info SET inspect_due = UTC_TIMESTAMP(6) + INTERVAL MOD(zip_id * 7919, 2592000) SECOND
    WHERE cid IS NOT NULL AND path IS NOT NULL;
