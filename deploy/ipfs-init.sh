#!/bin/sh
# Run by the Kubo image at each start, before the daemon.
set -e
# First of all: with a repository of an earlier version every other command fails, and the daemon, which would migrate it,
# is not reached. One that is up to date is left as it is.
ipfs repo migrate

# Whoever reaches the RPC can unpin and remove everything: it asks for a token.
token=$(cat "${ROADVAULT_IPFS_RPC_TOKEN_FILE:?names the file with the token of the RPC}")
case "$token" in
    "" | *[!A-Za-z0-9._~+/=-]*)
        echo "$ROADVAULT_IPFS_RPC_TOKEN_FILE must hold one line of letters, digits and . _ ~ + / = -" >&2
        exit 1
        ;;
esac
ipfs config --json API.Authorizations "{\"roadvault\": {\"AuthSecret\": \"bearer:$token\", \"AllowedPaths\": [\"/api/v0\"]}}"
unset token

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
