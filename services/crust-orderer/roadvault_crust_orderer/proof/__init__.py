"""Evidence that the network holds an archive, and its proof."""
