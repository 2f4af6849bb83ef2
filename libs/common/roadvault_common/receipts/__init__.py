"""Receipts: what proves to a stranger that a file was in an archive that was bought."""
