"""RoadVault: the operator's command line."""
