"""Effect chains in the engine: which instances run, in which order, and their bypass."""
