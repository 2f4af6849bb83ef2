"""RoadVault: retriever, what cuts clips."""
