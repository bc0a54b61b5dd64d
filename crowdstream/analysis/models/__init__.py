"""Linear models: what they compute, and their fitted weights."""
