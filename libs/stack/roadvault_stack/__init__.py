"""RoadVault: stack."""
