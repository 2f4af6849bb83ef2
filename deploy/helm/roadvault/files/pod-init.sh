#!/bin/sh
# Run by the Kubo of a store's pod after ipfs-init.sh: its RPC and gateway are for the other containers of the pod alone.
set -e
ipfs config Addresses.API /ip4/127.0.0.1/tcp/5001
ipfs config Addresses.Gateway /ip4/127.0.0.1/tcp/8080
# Where others reach it, which a pod can't know.
ipfs config --json Addresses.AppendAnnounce "${ROADVAULT_ANNOUNCE:-[]}"
