-- Who may do what, where ROADVAULT_AUTH is on. A token itself is nowhere: only its hash, and 256 random bits can't be guessed from that.

CREATE TABLE token_info (
    token_id       BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name           VARCHAR(100) NOT NULL COMMENT 'never given out twice, so that logs stay true',
    hash           BINARY(32)   NOT NULL COMMENT 'SHA-256 of the token',
    scopes         VARCHAR(100) NOT NULL COMMENT 'what it is good for, divided by commas: upload, request, read, operate',
    cameras        TEXT         NOT NULL COMMENT 'JSON: patterns of the cameras whose files it is good for; none: all',
    callback_hosts TEXT         NOT NULL COMMENT 'JSON: where its requests may have a client called; none: anywhere',
    expires_at     DATETIME(6)  NULL,
    revoked_at     DATETIME(6)  NULL,
    used_at        DATETIME(6)  NULL COMMENT 'to about a minute',
    create_time    DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY one_token_of_a_name (name),
    UNIQUE KEY one_token_of_a_hash (hash)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- What was done by whom, but for uploads and requests, which are in the custody log. Removed after ROADVAULT_ACTS_DAYS.
CREATE TABLE act_info (
    act_id      BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    kind        VARCHAR(10)  NOT NULL COMMENT 'token, person; console: `roadvault` on a machine of ours; anybody: nobody that is known',
    name        VARCHAR(100) NOT NULL COMMENT 'of the token or person; of the user on that machine',
    peer        VARCHAR(64)  NULL COMMENT 'the address that it came from',
    act         VARCHAR(40)  NOT NULL,
    subject     VARCHAR(300) NOT NULL DEFAULT '' COMMENT 'what it was done to',
    outcome     VARCHAR(300) NULL COMMENT 'NULL: begun, and how it ended nobody noted',
    times       INT          NOT NULL DEFAULT 1 COMMENT 'the same, so many times within a minute',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY act_time (create_time)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
