"""RoadVault: crust_orderer."""
