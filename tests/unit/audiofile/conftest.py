"""Fixtures that write audio files of every supported format."""

from tests.support.sound_files import write_sound

__all__ = ["write_sound"]
