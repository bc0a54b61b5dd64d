"""The header of a 16-bit stereo WAV file, of any claimed size."""

from __future__ import annotations

import struct

_FRAME_BYTES = 4  # 16-bit stereo
HEADER_BYTES = 44


def wav_header(data_bytes: int, rate: int = 44100) -> bytes:
    """Return the header of a file with `data_bytes` bytes of samples at `rate` Hz."""
    form = struct.pack("<HHIIHH", 1, 2, rate, rate * _FRAME_BYTES, _FRAME_BYTES, 16)
    return (
        b"RIFF" + struct.pack("<I", data_bytes + 36) + b"WAVE"
        + b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", data_bytes)
    )  # fmt: skip
