-- Which trace an attempt belonged to, for whoever goes from a row's page to the collector.
ALTER TABLE event_log
    ADD COLUMN trace_id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'as in answers and logs; NULL: traces were off';
