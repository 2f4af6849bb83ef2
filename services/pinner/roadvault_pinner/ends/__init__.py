"""Archives whose time is over."""
