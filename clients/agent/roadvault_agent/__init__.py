"""RoadVault: the agent at the edge, which hands finished files over."""
