"""A service as a process: its run and its log."""
