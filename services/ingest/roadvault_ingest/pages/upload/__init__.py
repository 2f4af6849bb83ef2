"""The page that takes files from people."""
