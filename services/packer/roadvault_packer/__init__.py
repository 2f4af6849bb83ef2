"""RoadVault: packer."""
