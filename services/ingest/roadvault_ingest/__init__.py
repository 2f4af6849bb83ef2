"""RoadVault: ingest."""
