-- What a client says of a file besides its name: which camera, when and where it was recorded, and words to find it by. All of it may
-- be missing. Columns are added at once, without a copy of the table; keys are built while services read and write.

ALTER TABLE file_upload_info
    ADD COLUMN camera      VARCHAR(100) NULL COMMENT 'what the client calls the camera',
    ADD COLUMN recorded_at DATETIME(6)  NULL COMMENT 'when the recording began, as the client says, UTC',
    ADD COLUMN lat         DOUBLE       NULL COMMENT 'where, in degrees (WGS 84)',
    ADD COLUMN lon         DOUBLE       NULL;
ALTER TABLE file_upload_info
    ADD KEY file_camera (camera, recorded_at),
    ADD KEY file_recorded (recorded_at),
    ADD KEY file_received (create_time),
    ADD KEY file_called (file_name);
CREATE TABLE file_tag_info (
    tag     VARCHAR(50) NOT NULL COMMENT 'a word that the client gave the file',
    file_id BIGINT      NOT NULL,
    PRIMARY KEY (tag, file_id),
    KEY tags_of_file (file_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
