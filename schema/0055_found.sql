-- Lists of files go by what was found in a file where its client said nothing. Files whose client said all there is to
-- know are found by file_upload_info, as ever; the others by what is known of them altogether, which stands here.
-- And how far files have been given their rows: a recovery brings back old numbers beside new ones.

ALTER TABLE video_info
    ADD COLUMN known_camera VARCHAR(100) NULL COMMENT 'the client''s or else what was found, of files of which more was found than the client said',
    ADD COLUMN known_at     DATETIME(6)  NULL COMMENT 'likewise, when the recording began';
ALTER TABLE video_info
    ADD KEY video_known_camera (known_camera, known_at),
    ADD KEY video_known_at (known_at),
    DROP KEY video_camera,
    DROP KEY video_recorded;
UPDATE video_info AS video JOIN file_upload_info AS file USING (file_id)
    SET known_camera = COALESCE(file.camera, video.camera), known_at = COALESCE(file.recorded_at, video.recorded_at)
    WHERE (file.camera IS NULL AND video.camera IS NOT NULL)
    OR (file.recorded_at IS NULL AND video.recorded_at IS NOT NULL);

ALTER TABLE picture_info
    ADD COLUMN enrolled BIGINT NOT NULL DEFAULT 0 COMMENT 'files up to this number have their rows in video_info';
UPDATE picture_info SET enrolled = (SELECT COALESCE(MAX(file_id), 0) FROM video_info);
