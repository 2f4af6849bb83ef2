"""Archives in our IPFS node: added, and inspected again and again."""
