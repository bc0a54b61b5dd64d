"""Access control: who may view, who may change anything, and limits for every client."""
