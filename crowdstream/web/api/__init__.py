"""What programs ask by HTTP: the command table, OSCQuery, metrics, health."""
