"""Files: the list with its filters, and the page of each."""
