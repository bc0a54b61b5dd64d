"""The command table: what every command is called, takes, does and replies."""
