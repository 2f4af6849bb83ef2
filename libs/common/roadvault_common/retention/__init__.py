"""When archives end: their period keys, where those are kept, and what is on hold."""
