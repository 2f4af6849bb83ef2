#!/bin/sh
# Run by the Kubo image of the witness after ipfs-init.sh, at each start and before the daemon: it dials others, never our
# own node, and nobody dials it.
set -e
: "${ROADVAULT_OUR_ADDRESSES:?names the addresses of our own node, as networks}"
# What is not on the internet, as in Kubo's profile `server`, and the addresses of our node, as networks.
private="10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7,fe80::/10"
filters=""
for network in $(echo "$private,$ROADVAULT_OUR_ADDRESSES" | tr ',' ' '); do
    case "$network" in
        *[!0-9a-fA-F.:/]* | *.*:* | */*/*) known="" ;;
        *.*/* | *:*/*) known=yes ;;
        *) known="" ;;
    esac
    if [ -z "$known" ]; then
        echo "ROADVAULT_OUR_ADDRESSES: $network is no network such as 203.0.113.7/32 or 2001:db8::7/128" >&2
        exit 1
    fi
    case "$network" in *:*) kind=ip6 ;; *) kind=ip4 ;; esac
    filters="$filters${filters:+,}\"/$kind/${network%/*}/ipcidr/${network#*/}\""
done
ipfs config --json Swarm.AddrFilters "[$filters]"

ipfs config --json Addresses.Swarm '[]'
ipfs config --json Swarm.DisableNatPortMap true
ipfs config --json Swarm.EnableHolePunching false
ipfs config --json Swarm.RelayClient.Enabled false
ipfs config --json Swarm.RelayService.Enabled false
# Else our node could be reached by way of a third.
ipfs config --json Swarm.Transports.Network.Relay false
ipfs config --json Discovery.MDNS.Enabled false
# Blocks come over bitswap alone, whose partners are the node's peers.
ipfs config --json HTTPRetrieval.Enabled false
ipfs config --json Provide.Enabled false
ipfs config Routing.Type autoclient
