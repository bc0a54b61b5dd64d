"""Sets: the model, reading and writing set files, and the timed commands that play a set."""
