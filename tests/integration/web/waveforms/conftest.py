"""Sound files of every format that the loader reads."""

from tests.support.sound_files import write_sound

__all__ = ["write_sound"]
