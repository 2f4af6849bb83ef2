"""`roadvault store`: which stores there are, and what a person decides about one."""
