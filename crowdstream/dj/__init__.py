"""The automatic DJ: set files, planning, transitions and the autopilot."""
