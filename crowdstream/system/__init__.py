"""Operating-system helpers shared by all parts of the program."""
