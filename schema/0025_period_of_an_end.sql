-- Whether an archive was ever of a period key is asked before that is destroyed.
ALTER TABLE retention_info ADD KEY retention_period_key (period_key);
