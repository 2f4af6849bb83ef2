"""RoadVault: pinner."""
