"""The period of the JACK server, which PortAudio leaves out of the latency that it reports.

JACK counts the latency of an output from the beginning of the cycle in which a block is written.
PortAudio's JACK driver (`src/hostapi/jack/pa_jack.c`) subtracts one buffer from it, and does not
report that buffer's size.
"""

from __future__ import annotations

import ctypes

LIBRARY = "libjack.so.0"  # JACK's and PipeWire's; PortAudio has loaded the same
NO_START_SERVER = 1
NAME = b"CrowdStream period"


def jack_period() -> int:
    """Return the frames of a period of the JACK server that is running; 0 if there is none."""
    try:
        library = ctypes.CDLL(LIBRARY)
        opened = library.jack_client_open
        opened.restype = ctypes.c_void_p
        opened.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)
        frames = library.jack_get_buffer_size
        frames.restype = ctypes.c_uint32
        frames.argtypes = library.jack_client_close.argtypes = (ctypes.c_void_p,)
    except (OSError, AttributeError):
        return 0
    client = opened(NAME, NO_START_SERVER, None)
    if not client:
        return 0
    found = int(frames(client))
    library.jack_client_close(client)
    return found
