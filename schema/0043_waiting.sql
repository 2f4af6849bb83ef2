-- The oldest batch that has not ended is watched; and lists of files that have ended are led by their archives.
ALTER TABLE batch_info ADD KEY batch_open (is_open, create_time);
ALTER TABLE retention_info
    ADD COLUMN ended TINYINT AS (IF(shredded_at IS NULL, NULL, 1)) VIRTUAL COMMENT '1 once its key was destroyed';
ALTER TABLE retention_info ADD KEY retention_ended (ended, zip_id);
