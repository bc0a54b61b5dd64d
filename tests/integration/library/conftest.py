"""Folders of short tracks, and `crowdstream analyze` with an instant analysis."""

from tests.support.analyze_command import own_folders, place, run, sound

__all__ = ["own_folders", "place", "run", "sound"]
