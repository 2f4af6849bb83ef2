"""Our IPFS node: its room, and its garbage collections."""
