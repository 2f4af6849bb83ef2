-- What is found in files that are videos: facts, and three small pictures. What clients said stays in file_upload_info, and counts more.

CREATE TABLE video_info (
    file_id        BIGINT       NOT NULL PRIMARY KEY,
    look_due       DATETIME(6)  NULL COMMENT 'when somebody may next look at it; NULL when there is nothing to do',
    look_token     CHAR(32)     NULL COMMENT 'the lease of who looks at it now',
    look_attempts  INT          NOT NULL DEFAULT 0 COMMENT 'claims since the last success',
    look_reason    VARCHAR(500) NULL COMMENT 'why the last attempt did not succeed',
    look_failed_at DATETIME(6)  NULL COMMENT 'never set: a picture that is missing asks nobody',
    looked_at      DATETIME(6)  NULL COMMENT 'when it was looked at last',
    unreadable     VARCHAR(200) NULL COMMENT 'why there are no pictures of it, or too few facts, and never will be',
    container      VARCHAR(30)  NULL,
    video_codec    VARCHAR(30)  NULL,
    audio_codec    VARCHAR(30)  NULL,
    width          INT          NULL COMMENT 'pixels, before it is turned',
    height         INT          NULL,
    rotation       SMALLINT     NULL COMMENT 'degrees by which it is turned to be shown, clockwise',
    frame_rate     DOUBLE       NULL COMMENT 'frames in a second',
    duration       DOUBLE       NULL COMMENT 'seconds',
    camera         VARCHAR(100) NULL COMMENT 'as the file or its name says',
    recorded_at    DATETIME(6)  NULL COMMENT 'when the recording began, as the file or its name says, UTC',
    recorded_by    VARCHAR(10)  NULL COMMENT 'what said so: gps, metadata, name',
    lat            DOUBLE       NULL COMMENT 'where, in degrees (WGS 84)',
    lon            DOUBLE       NULL,
    path           VARCHAR(200) NULL COMMENT 'its pictures, one behind the other, below the data directory',
    picture_bytes  VARCHAR(50)  NULL COMMENT 'the length of each, with commas',
    picture_places VARCHAR(80)  NULL COMMENT 'where each is in the video, in seconds, with commas',
    bytes          INT          NOT NULL DEFAULT 0 COMMENT 'of all its pictures',
    seen_at        DATETIME(6)  NULL COMMENT 'when somebody saw a picture last, to an hour; set while there are any',
    KEY look_due (look_due),
    KEY look_failed (look_failed_at),
    UNIQUE KEY video_path (path),
    KEY video_seen (seen_at),
    KEY video_camera (camera, recorded_at),
    KEY video_recorded (recorded_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE picture_info (
    one   TINYINT NOT NULL DEFAULT 1 PRIMARY KEY COMMENT 'there is but one row',
    bytes BIGINT  NOT NULL DEFAULT 0 COMMENT 'of all pictures'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
INSERT INTO picture_info (one) VALUES (1);
