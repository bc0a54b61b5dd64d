"""Sound files, as the library's tests make them."""

from tests.library.conftest import write_sound

__all__ = ["write_sound"]
