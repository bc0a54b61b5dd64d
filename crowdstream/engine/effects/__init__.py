"""Effect chains in the engine: instances, their order, and their bypass."""
