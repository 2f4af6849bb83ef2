-- Archives are found by their CIDs: where our IPFS node says of pins that they are broken.
ALTER TABLE zip_ipfs_info ADD KEY zip_cid (cid);
