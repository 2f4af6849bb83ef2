"""Publishing the catalogue: what a master key alone needs to find every archive again."""
