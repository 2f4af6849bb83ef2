#!/bin/sh
# Run by the Kubo image at each start, before the daemon.
set -e
# The archive stays where the packer wrote it; Kubo refers to it.
ipfs config --json Experimental.FilestoreEnabled true
# An archive is found by its root; announcing each of its 5 000 blocks would only cost traffic.
ipfs config Provide.Strategy roots
ipfs config --json Gateway.NoDNSLink true
ipfs config --json Gateway.DeserializedResponses true
# Links are for the intranet: what the gateway serves is encrypted, but needs no other audience.
ipfs config --json Gateway.PublicGateways null
ipfs config --json Swarm.ConnMgr '{"Type": "basic", "LowWater": 64, "HighWater": 192, "GracePeriod": "30s"}'
ipfs config Datastore.StorageMax 50GB
