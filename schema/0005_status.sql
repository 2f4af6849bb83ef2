-- What `roadvault status` counts, without reading every archive there ever was: those in each state that needs
-- something, and those that the orderer is at work on (all live archives wait for their next look at the market, so
-- order_due does not tell these apart).

ALTER TABLE zip_ipfs_info
    ADD KEY zip_status (status),
    ADD KEY zip_order_token (order_token);
