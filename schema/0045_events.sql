-- How attempts on rows ended: for people, who see it beside the row. What is proven is the custody log.

CREATE TABLE event_log (
    event_id    BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    stage       VARCHAR(10)  NOT NULL,
    row_id      BIGINT       NOT NULL COMMENT 'of the stage''s table: folder, archive, request or batch',
    outcome     VARCHAR(10)  NOT NULL COMMENT 'done, wait, retry, failed',
    attempt     INT          NOT NULL COMMENT 'claims since the last success, with this one',
    reason      VARCHAR(500) NULL COMMENT 'as in <stage>_reason: words [code name=value …]',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY event_of_row (row_id, stage),
    KEY event_time (create_time)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
