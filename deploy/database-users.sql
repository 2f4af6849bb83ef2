SET sql_log_bin = 0;
CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED VIA unix_socket;
GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, REPLICATION SLAVE ON *.* TO mysql@localhost;
IF EXISTS (SELECT 1 FROM mysql.global_priv WHERE User = 'roadvault' AND Host = '%') THEN GRANT ALL ON `roadvault\_rehearsal`.* TO roadvault@'%'; END IF;
