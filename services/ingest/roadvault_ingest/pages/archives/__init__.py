"""Archives: the list, and the page of each."""
