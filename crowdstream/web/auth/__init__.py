"""Who may see and who may change what: nothing comes in by another way."""
