"""Buying storage: what an archive needs, what there is to spend, and each purchase until it is settled."""
