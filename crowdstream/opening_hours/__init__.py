"""Opening hours: when to play, how lively, what, and how loud."""

from crowdstream.opening_hours.model import Change, Hours, Schedule, ScheduleError
from crowdstream.opening_hours.reader import read_schedule

__all__ = ["Change", "Hours", "Schedule", "ScheduleError", "read_schedule"]
