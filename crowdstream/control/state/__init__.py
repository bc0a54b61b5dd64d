"""Control's state outside of the process, and its restoration after a crash."""
