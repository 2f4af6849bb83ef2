"""The custody log: one chain of all acts on files and archives, its check, and what ties a file's lines to its head."""
