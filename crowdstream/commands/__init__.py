"""The command table: address, arguments, help and replies of every command."""
