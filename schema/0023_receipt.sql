-- Receipts: they show a file's salt, and where its archive's order is. Ingest makes them, and has no master key: so the key of an
-- archive's salts, which opens nothing, lies beside the label. Of archives of format 2 it is derived from the archive's key.

ALTER TABLE label_info
    ADD COLUMN salt_key BINARY(32) NULL COMMENT 'what the salts of the tree over its files are derived from; NULL: destroyed, or not derived yet';
ALTER TABLE order_info
    ADD COLUMN block_hash CHAR(66) NULL COMMENT 'of `block`; NULL: no chain has it, or it was not noted';
