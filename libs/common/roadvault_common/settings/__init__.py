"""Settings that every service has, and secrets from files."""
