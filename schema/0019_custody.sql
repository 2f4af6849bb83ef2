-- The custody log: each act on a file, or on an archive, which stands for all its files, is one line, written in the transaction of
-- the act. One process at a time gives lines their place in one chain, and in a Merkle tree over it, soon after. Nothing is ever
-- changed or removed here but that: architecture/custody.md says how a line is hashed.

CREATE TABLE custody_info (
    line_id  BIGINT        NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'as lines are written; `position` says as they are chained',
    act      VARCHAR(20)   NOT NULL COMMENT 'roadvault_common.sql.custody_lines.Act',
    file_id  BIGINT        NULL COMMENT 'what it was done to: a file, or an archive, or neither',
    zip_id   BIGINT        NULL,
    done_at  DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    facts    VARCHAR(2000) NOT NULL COMMENT 'what else there is to say, as JSON: compact, keys in order',
    position BIGINT        NULL COMMENT 'its place in the chain, from 0; NULL until it is chained',
    follows  BIGINT        NULL COMMENT 'position of the line before of the same file or archive; NULL: it is the first',
    hash     BINARY(32)    NOT NULL DEFAULT '' COMMENT 'SHA-256 of the hash before, that of the line it follows, and the line itself',
    UNIQUE KEY custody_position (position),
    KEY custody_subject (zip_id, file_id, position)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE custody_node_info (
    level  TINYINT    NOT NULL COMMENT 'it stands over 2^level lines; from 8 on, those below are made anew from the lines',
    number BIGINT     NOT NULL COMMENT 'which of its level, from 0',
    hash   BINARY(32) NOT NULL COMMENT 'as RFC 9162 has it, the lines'' hashes being the leaves',
    PRIMARY KEY (level, number)
) ENGINE = InnoDB;

CREATE TABLE custody_head_info (
    one       TINYINT     NOT NULL DEFAULT 1 PRIMARY KEY COMMENT 'always 1: there is one row; whoever chains holds its lock',
    size      BIGINT      NOT NULL DEFAULT 0 COMMENT 'lines that are chained',
    hash      BINARY(32)  NOT NULL DEFAULT '' COMMENT 'of the newest of them',
    checked   BIGINT      NOT NULL DEFAULT 0 COMMENT 'how far the check has come on its way through all lines',
    check_due DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) COMMENT 'when the next part is to be checked',
    round_at  DATETIME(6) NULL COMMENT 'when it last came to the end'
) ENGINE = InnoDB;
INSERT INTO custody_head_info (one) VALUES (1);

CREATE TABLE custody_fault_info (
    position BIGINT       NOT NULL PRIMARY KEY COMMENT 'of the line that is not what was chained, or is missing',
    reason   VARCHAR(500) NOT NULL,
    found_at DATETIME(6)  NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    accepted_at DATETIME(6) NULL COMMENT 'when a person accepted it: it stays wrong',
    KEY custody_fault_accepted (accepted_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
