-- What is away, as the processes that wait for it see it: for the back-office and `roadvault status`. A process writes its
-- rows anew from time to time; those of one that died are not believed after `stale_at`.

CREATE TABLE outage_info (
    service  VARCHAR(40)  NOT NULL COMMENT 'whose work waits',
    process  VARCHAR(100) NOT NULL COMMENT 'in which process of it: host and number',
    domain   VARCHAR(20)  NOT NULL COMMENT 'database, redis, ipfs, network, market, disk or callback host',
    name     VARCHAR(300) NOT NULL COMMENT 'which one of several: host:port of a callback; else empty',
    reason   VARCHAR(500) NOT NULL COMMENT 'what was found',
    since    DATETIME(6)  NOT NULL COMMENT 'when it was first found away',
    stale_at DATETIME(6)  NOT NULL COMMENT 'from then on the row is not believed',
    PRIMARY KEY (service, process, domain, name),
    KEY outage_stale (stale_at, since)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
