-- Which camera a resumable upload is of, as whoever began it may upload for but one: another may end it.
ALTER TABLE upload_info
    ADD COLUMN camera VARCHAR(100) NULL COMMENT 'what its file is of, if its metadata names no camera';
