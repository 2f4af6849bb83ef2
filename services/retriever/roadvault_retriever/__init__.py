"""RoadVault: retriever."""
