"""IPFS: Kubo's RPC API, its gateway, and the DAG of a file."""
