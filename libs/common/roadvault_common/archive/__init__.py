"""Archives: their keys, the master keys, and the check of their members."""
