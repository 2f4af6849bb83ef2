-- Which tokens that play a video are in the custody log already: one line for each, however many ranges a player asks for.

CREATE TABLE watched_info (
    view_id CHAR(16)    NOT NULL PRIMARY KEY COMMENT 'the token''s own',
    over_at DATETIME(6) NOT NULL COMMENT 'when the token is over; a day later the row goes',
    KEY watched_over (over_at)
) ENGINE = InnoDB DEFAULT CHARSET = ascii COLLATE = ascii_bin;
