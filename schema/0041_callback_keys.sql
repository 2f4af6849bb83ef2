-- Each token that may ask for files has keys of its own, by which its client knows that a callback is ours.

CREATE TABLE callback_key_info (
    key_id      BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    token_id    BIGINT       NOT NULL,
    `key`       VARCHAR(255) NOT NULL COMMENT 'whsec_ and base64, wrapped by the first of ROADVAULT_CALLBACK_MASTER_KEYS (Fernet)',
    until       DATETIME(6)  NULL COMMENT 'another has taken its place, and both sign until then; NULL: none has',
    create_time DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    KEY callback_key_token (token_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

ALTER TABLE download_info
    ADD COLUMN token_id BIGINT NULL COMMENT 'the token that asked for it (token_info)';
ALTER TABLE batch_info
    ADD COLUMN token_id BIGINT       NULL COMMENT 'likewise',
    ADD COLUMN who_kind VARCHAR(10)  NOT NULL DEFAULT 'anybody' COMMENT 'what the custody log says of who asked: token, person, anybody',
    ADD COLUMN who_name VARCHAR(100) NOT NULL DEFAULT '';
