"""`roadvault recover`: rows of an empty database, from what outlived the one before."""
