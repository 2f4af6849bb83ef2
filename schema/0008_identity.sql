-- Which data directory this database belongs to, and how far both had come when they were last seen together: a dump that was
-- restored is behind the directory's identity.json. And the sweeps that stopped, since what they would take is more than usual.

CREATE TABLE identity_info (
    one         TINYINT     NOT NULL DEFAULT 1 PRIMARY KEY COMMENT 'always 1: there is one row',
    identity    CHAR(32)    NOT NULL COMMENT 'of database and data directory together; in identity.json there, too',
    mark        BIGINT      NOT NULL DEFAULT 0 COMMENT 'moved on while rows are recorded; the data directory''s follows at once',
    create_time DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE sweep_info (
    directory  VARCHAR(20) NOT NULL PRIMARY KEY COMMENT 'below the data directory: received, archives or downloads',
    files      BIGINT      NOT NULL COMMENT 'that no row names, and that the sweep would have moved to quarantine',
    bytes      BIGINT      NOT NULL COMMENT 'of these',
    seen       BIGINT      NOT NULL COMMENT 'files that lay there in all',
    allowed    BIGINT      NULL     COMMENT 'files that a person lets the next sweep move; NULL: nobody has decided',
    stopped_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when it stopped first'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
