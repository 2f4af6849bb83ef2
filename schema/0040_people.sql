-- People, where ROADVAULT_AUTH is on: accounts of our own, sessions (also of people of an OpenID Connect provider), wrong passwords.

CREATE TABLE user_info (
    user_id     BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name        VARCHAR(100) NOT NULL,
    role        VARCHAR(10)  NOT NULL COMMENT 'viewer, operator',
    password    VARCHAR(200) NOT NULL COMMENT 'argon2id of the password, with salt and parameters',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY one_account_of_a_name (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE session_info (
    session_id   BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    hash         BINARY(32)   NOT NULL COMMENT 'SHA-256 of what the browser has in its cookie',
    user_id      BIGINT       NULL COMMENT 'the account; NULL: somebody whom the provider named',
    name         VARCHAR(100) NOT NULL,
    role         VARCHAR(10)  NOT NULL COMMENT 'as the provider said; that of an account stands with it',
    peer         VARCHAR(64)  NULL COMMENT 'the address that the log-in came from',
    idle_ends_at DATETIME(6)  NOT NULL COMMENT 'moves on while it is used, but never past ends_at',
    ends_at      DATETIME(6)  NOT NULL,
    create_time  DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY one_session_of_a_hash (hash),
    KEY session_user (user_id),
    KEY session_name (name),
    KEY session_idle_ends (idle_ends_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE guess_info (
    whose   VARCHAR(200) NOT NULL PRIMARY KEY COMMENT 'an address, a name, or both: log-ins are counted for each',
    guesses INT          NOT NULL,
    since   DATETIME(6)  NOT NULL,
    KEY guess_since (since)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
