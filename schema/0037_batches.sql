-- Many files that one client asks for at once. A batch and the numbers of its files are written together, which locks nobody; its requests
-- are made soon after, a few at a time (stage ask, which cancels them as well), and when all have ended its client is told so
-- (stage report).

CREATE TABLE batch_info (
    batch_id         BIGINT        NOT NULL PRIMARY KEY COMMENT 'a random number, so that none comes again after a recovery',
    cb_url           VARCHAR(2048) NOT NULL,
    cb_place         VARCHAR(300)  NOT NULL COMMENT 'host:port that callbacks go to',
    peer             VARCHAR(64)   NULL COMMENT 'address that it came from',
    files            INT           NOT NULL,
    is_open          TINYINT       NULL DEFAULT 1 COMMENT 'NULL once all its requests have ended',
    done             INT           NULL COMMENT 'of its files, those whose callback was taken, when all had ended',
    failed           INT           NULL,
    cancelled        INT           NULL,
    cancelled_at     DATETIME(6)   NULL COMMENT 'when its client asked to cancel what had not ended',
    moved_at         DATETIME(6)   NULL COMMENT 'when a request of it was last seen to have ended',
    ended_at         DATETIME(6)   NULL COMMENT 'when all were',
    called_back_at   DATETIME(6)   NULL,
    ask_due          DATETIME(6)   NULL,
    ask_token        CHAR(32)      NULL,
    ask_attempts     INT           NOT NULL DEFAULT 0,
    ask_reason       VARCHAR(500)  NULL,
    ask_failed_at    DATETIME(6)   NULL,
    report_due       DATETIME(6)   NULL,
    report_token     CHAR(32)      NULL,
    report_attempts  INT           NOT NULL DEFAULT 0,
    report_reason    VARCHAR(500)  NULL,
    report_failed_at DATETIME(6)   NULL,
    update_time      DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    create_time      DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY batch_peer_open (peer, is_open),
    KEY batch_ask_due (ask_due),
    KEY batch_ask_token (ask_token),
    KEY batch_ask_failed (ask_failed_at),
    KEY batch_report_due (report_due),
    KEY batch_report_token (report_token),
    KEY batch_report_failed (report_failed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE batch_file_info (
    batch_id    BIGINT       NOT NULL,
    file_id     BIGINT       NOT NULL,
    download_id BIGINT       NULL COMMENT 'the request for it, which others may have asked for, too',
    state       TINYINT      NOT NULL DEFAULT 0 COMMENT '0 to be asked for, 1 asked for, 2 done, 3 failed, 4 cancelled',
    reason      VARCHAR(500) NULL COMMENT 'why it failed',
    PRIMARY KEY (batch_id, file_id),
    KEY batch_file_state (batch_id, state)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

ALTER TABLE download_info
    ADD COLUMN batch_id BIGINT NULL COMMENT 'the batch that asked for it, as long as nobody else did: it may be cancelled with that';
