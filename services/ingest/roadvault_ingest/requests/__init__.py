"""Files that are asked for: one at a time, and many in a batch."""
