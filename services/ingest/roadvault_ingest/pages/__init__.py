"""The back-office: pages, their SQL and texts."""
