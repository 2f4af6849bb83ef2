"""RoadVault: devnet."""
