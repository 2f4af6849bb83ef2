-- Uploads that come in several requests (tus), and by what one is known that came before.
CREATE TABLE upload_info (
    upload_id   CHAR(32)      NOT NULL PRIMARY KEY COMMENT 'random; in the upload''s URL',
    path        VARCHAR(200)  NOT NULL COMMENT 'where its bytes are, below the data directory: the path of the file that it becomes',
    size        BIGINT        NULL COMMENT 'how long it is going to be; NULL until the client says so',
    came        BIGINT        NOT NULL DEFAULT 0 COMMENT 'bytes that are durable on the disk; less than size until it is whole',
    metadata    TEXT          NOT NULL COMMENT 'Upload-Metadata, as it came',
    concat      TEXT          NULL COMMENT 'Upload-Concat, as it came: partial, or final and of which',
    peer        VARCHAR(64)   NULL COMMENT 'address that it was begun from',
    upload_key  CHAR(64)      NULL COMMENT 'hash of the Idempotency-Key that it was begun with',
    file_id     BIGINT        NULL COMMENT 'the file that it became; NULL until it is whole',
    held_until  DATETIME(6)   NOT NULL COMMENT 'until then the disk''s room for all of it is kept',
    expires_at  DATETIME(6)   NOT NULL COMMENT 'then the row goes, and its bytes if it has become no file',
    create_time DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UNIQUE KEY upload_path (path),
    UNIQUE KEY upload_key (upload_key),
    KEY upload_open (file_id, create_time),
    KEY upload_of_peer (peer, file_id),
    KEY upload_expires (expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE upload_key_info (
    upload_key CHAR(64)     NOT NULL PRIMARY KEY COMMENT 'hash of a client''s Idempotency-Key, or of name, SHA-256 and camera',
    path       VARCHAR(200) NOT NULL COMMENT 'where the upload came to that was the first with it',
    file_id    BIGINT       NULL COMMENT 'the file that this became',
    expires_at DATETIME(6)  NOT NULL COMMENT 'from then on it counts no more',
    KEY upload_key_expires (expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
