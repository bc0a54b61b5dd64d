"""Long nights: a set made up by a seed, and what is watched, broken and judged meanwhile."""
