"""The data directory: whose it is, how files are written, and what becomes of those that no row names."""
