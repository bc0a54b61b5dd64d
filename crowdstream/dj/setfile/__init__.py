"""Sets: the model, the files, and the commands that play them."""
