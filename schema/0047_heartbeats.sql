-- A row for each process that runs: it says every ten seconds that it lives, and what it alone knows.

CREATE TABLE heartbeat_info (
    service    VARCHAR(40)  NOT NULL,
    instance   VARCHAR(100) NOT NULL COMMENT 'host and number of the process',
    version    VARCHAR(40)  NOT NULL,
    started_at DATETIME(6)  NOT NULL,
    heard_at   DATETIME(6)  NOT NULL,
    facts      TEXT         NOT NULL COMMENT 'JSON: numbers and words by name',
    PRIMARY KEY (service, instance),
    KEY heartbeat_heard (heard_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
