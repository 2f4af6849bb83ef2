"""HTTP: listeners and their limits, what is refused, links, callbacks, health."""
