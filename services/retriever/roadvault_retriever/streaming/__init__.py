"""RoadVault: retriever, what plays videos."""
