-- Requests of one file share one extraction: several rows may name the same path, and the fetch that brought the file
-- back closes all that wait for it. What asks for a file is bounded: open requests for each file, and for each peer.
-- Callbacks for a host that gives no answer are put off together.

ALTER TABLE download_info
    MODIFY COLUMN path VARCHAR(200) NULL COMMENT 'the extracted file, below the data directory, perhaps shared with other requests of the file; NULL once removed',
    ADD COLUMN peer     VARCHAR(64)  NULL COMMENT 'address that the request came from',
    ADD COLUMN cb_place VARCHAR(300) NULL COMMENT 'host:port that the callback goes to',
    ADD KEY download_file_path (file_id, path),
    ADD KEY download_file_waiting (file_id, fetch_due),
    ADD KEY download_file_open (file_id, open_key),
    ADD KEY download_peer_open (peer, open_key),
    ADD KEY download_place_due (cb_place, callback_due);
