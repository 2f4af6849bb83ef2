-- A request, or a batch, may be for clips: what lies between two times of a video, cut out of it.

ALTER TABLE download_info
    ADD COLUMN clip_from   BIGINT       NULL COMMENT 'milliseconds of the video, or since 1970 if clip_clock = 1, from which a clip is wanted; NULL: the file as it is',
    ADD COLUMN clip_to     BIGINT       NULL COMMENT 'likewise, its end',
    ADD COLUMN clip_clock  TINYINT      NOT NULL DEFAULT 0,
    ADD COLUMN clip_name   VARCHAR(255) NULL COMMENT 'what was made of it: its name',
    ADD COLUMN clip_size   BIGINT       NULL COMMENT 'its bytes',
    ADD COLUMN clip_sha256 CHAR(64)     NULL,
    ADD COLUMN clip_note   VARCHAR(2000) NULL COMMENT 'JSON: its begin and end in milliseconds of the video, when that was since 1970, and what was left out';
ALTER TABLE batch_info
    ADD COLUMN clip_from   BIGINT       NULL COMMENT 'as in download_info, for each of its files',
    ADD COLUMN clip_to     BIGINT       NULL,
    ADD COLUMN clip_clock  TINYINT      NOT NULL DEFAULT 0;
