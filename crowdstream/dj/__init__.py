"""The automatic DJ: sets, planning, playing."""
