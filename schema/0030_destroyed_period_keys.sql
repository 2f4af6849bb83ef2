-- Which period keys were destroyed is in each catalogue, by their ids: no recovery takes them from an old sheet, or an old keyring.
ALTER TABLE period_key_info
    ADD COLUMN catalogued TINYINT NOT NULL DEFAULT 0 COMMENT '1: the catalogue says that it was destroyed';
