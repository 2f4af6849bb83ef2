-- What was published of the custody log is never taken back: the next catalogue has a log that goes on from there, or the one of before
-- again, until a person accepts the log that there is.
ALTER TABLE catalogue_info
    ADD COLUMN custody_accepted TINYINT NOT NULL DEFAULT 0 COMMENT '1: a person accepted the log as it is; the next catalogue need not go on from `custody`';
ALTER TABLE catalogue_log_info
    ADD COLUMN hash BINARY(32) NULL COMMENT 'of its last line: as long as the log has that line there, all of them are in it; NULL: published by an older service';
UPDATE catalogue_log_info JOIN custody_info ON position = last - 1 SET catalogue_log_info.hash = custody_info.hash;
