-- Which trace a row belongs to, while traces are on (ROADVAULT_OTLP_URL): for the sweeps that find rows. Kept for days.

CREATE TABLE trace_info (
    of_table    VARCHAR(20) NOT NULL COMMENT 'file_upload_info, folder_info, zip_ipfs_info, download_info or batch_info',
    row_id      BIGINT      NOT NULL,
    traceparent CHAR(55)    NOT NULL COMMENT 'as in https://www.w3.org/TR/trace-context/',
    create_time DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (of_table, row_id),
    KEY trace_time (create_time)
) ENGINE = InnoDB DEFAULT CHARSET = ascii;
