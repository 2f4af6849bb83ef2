"""Reserve copies: an upload is acknowledged only when another store has its bytes durably, too."""
