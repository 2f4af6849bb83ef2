-- A purchase belongs to the market where it was made: elsewhere nobody can tell what became of it. And that a purchase was
-- refused is put before a person once, whichever archive's turn found it out. Of what a refused order was quoted, the fee
-- is spent all the same.

ALTER TABLE order_info
    ADD COLUMN market      VARCHAR(100) NULL COMMENT 'genesis hash of the chain, or host of the pinning service; NULL: from before this column',
    ADD COLUMN reported_at DATETIME(6)  NULL COMMENT 'when its refusal was put before a person',
    ADD COLUMN fee         DECIMAL(39)  NOT NULL DEFAULT 0 COMMENT 'planck, as quoted: the part of the price that the chain keeps if the market refuses',
    MODIFY COLUMN price    DECIMAL(39)  NOT NULL COMMENT 'planck, as quoted before buying; of an order that bought nothing the fee alone';
UPDATE order_info SET reported_at = settled_at WHERE status = 2;
