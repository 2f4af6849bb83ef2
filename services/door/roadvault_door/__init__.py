"""RoadVault: door."""
