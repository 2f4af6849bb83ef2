"""RoadVault: notifier."""
