"""Events: what there are, and the bus that carries them."""
