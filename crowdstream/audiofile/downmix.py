"""Three to eight channels down to two.

Front left and right stay; the centre goes to both sides, and each surround or side channel to
its own, 3 dB lower; the low-frequency channel is left out (Recommendation ITU-R BS.775-4, annex
4). All is then scaled so that full scale on every channel can't exceed full scale.
Channels are taken in the order of WAV files; Vorbis and Opus files have the one of Vorbis I,
section 4.3.9.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_CHANNELS = 8
_WAV_ORDER = {
    3: "L R C",
    4: "L R BL BR",
    5: "L R C BL BR",
    6: "L R C LFE BL BR",
    7: "L R C LFE BC SL SR",
    8: "L R C LFE BL BR SL SR",
}
_VORBIS_ORDER = {
    3: "L C R",
    4: "L R BL BR",
    5: "L C R BL BR",
    6: "L C R BL BR LFE",
    7: "L C R SL SR BC LFE",
    8: "L C R SL SR BL BR LFE",
}
_HALF_POWER = 0.5**0.5
_SHARES = {  # of left and right
    "L": (1.0, 0.0),
    "R": (0.0, 1.0),
    "C": (_HALF_POWER, _HALF_POWER),
    "BC": (0.5, 0.5),
    "BL": (_HALF_POWER, 0.0),
    "SL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SR": (0.0, _HALF_POWER),
    "LFE": (0.0, 0.0),
}


def downmix_matrix(channels: int, vorbis_order: bool = False) -> npt.NDArray[np.float32]:
    """Gains of shape (channels, 2), for 3 to 8 channels; frames @ matrix is the stereo mix."""
    order = (_VORBIS_ORDER if vorbis_order else _WAV_ORDER)[channels]
    gains = np.array([_SHARES[name] for name in order.split()])
    matrix: npt.NDArray[np.float32] = (gains / gains.sum(axis=0).max()).astype(np.float32)
    return matrix
