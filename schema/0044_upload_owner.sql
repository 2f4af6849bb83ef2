-- Whose a resumable upload is: nobody else may go on with it, where ROADVAULT_AUTH is on.
ALTER TABLE upload_info
    ADD COLUMN owner VARCHAR(120) NULL COMMENT 'who began it: token 17, person anna; NULL: nobody was asked who they are';
