"""Sound files, as the library's tests make them."""

from tests.support.sound_files import write_sound

__all__ = ["write_sound"]
