"""Parts of the soak test `soak.py`: clients, kills, readings, log, verdicts, report."""
