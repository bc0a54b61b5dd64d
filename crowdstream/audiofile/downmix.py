"""Downmix of three to eight channels to stereo.

Front left and right are kept; the centre goes to both sides at -3 dB, and each surround or side
channel goes to its own side at -3 dB. The low-frequency channel is left out (Recommendation ITU-R
BS.775-4, annex 4). The matrix is then scaled so that full scale on every input channel can't exceed
full scale in the mix. Channels are in the order of WAV files, or in that of Vorbis I, section
4.3.9, for Vorbis and Opus files.
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
_GAINS = {  # linear gains into left and right
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
    """Return linear gains, float32 of shape (channels, 2): `frames @ matrix` is the stereo mix.

    channels: 3 to 8. vorbis_order: the channels are in the order of Vorbis and Opus files.
    """
    order = (_VORBIS_ORDER if vorbis_order else _WAV_ORDER)[channels]
    gains = np.array([_GAINS[name] for name in order.split()])
    matrix: npt.NDArray[np.float32] = (gains / gains.sum(axis=0).max()).astype(np.float32)
    return matrix
