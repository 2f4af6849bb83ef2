-- What is destroyed stays so: before archives end in a database that may lack what came after a dump, or a catalogue, or that would end
-- unusually many at once, a person looks, and allows it. And a database that is being recovered into is nobody's yet: its identity is ''.
-- Services from before this end archives as ever; they don't start in a database without an identity.

ALTER TABLE identity_info
    MODIFY COLUMN identity CHAR(32) NOT NULL COMMENT 'of database and data directory together; in identity.json there, too; empty while a recovery is under way',
    ADD COLUMN doubted_at DATETIME(6) NULL COMMENT 'when the database was accepted, or recovered; NULL once a person lets archives end in it',
    ADD COLUMN ends_allowed DATETIME(6) NULL COMMENT 'archives whose end is before this may end, however many';
