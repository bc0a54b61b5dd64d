"""HTTP interfaces for programs: the command table, OSCQuery, metrics and health."""
