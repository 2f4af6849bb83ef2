"""RoadVault: common."""
