"""Make a set entry of a track: from its mix-in point to its end, at the common loudness."""

from __future__ import annotations

from crowdstream.dj.setfile.model import BEATS_PER_BAR, SetEntry
from crowdstream.dj.track_features import TrackFeatures

TARGET_LUFS = -16.0  # of each track; leaves headroom for two tracks below the limiter
MAX_GAIN_DB, MIN_GAIN_DB = 12.0, -24.0
PEAK_DB = 3.0  # peak above full scale to which a quiet track may be raised: the limiter handles it


def entry_of(features: TrackFeatures, enter: float, ratio: float, why: str) -> SetEntry:
    """Return a track from a beat of its grid to its end, trimmed to the common loudness."""
    loudness = features.analysis.loudness
    gain = min(TARGET_LUFS - loudness.lufs, PEAK_DB - loudness.peak_db, MAX_GAIN_DB)
    unit = BEATS_PER_BAR * max(1.0, ratio)
    leave = enter + max(unit, (features.end - enter) // unit * unit)
    if features.left_out:
        why += f"; {features.left_out}"
    if features.uncertain:
        doubt = features.analysis.tempo.doubt
        why += f"; its beatgrid is uncertain{f' ({doubt})' if doubt else ''}: it plays alone"
    return SetEntry(
        features.path,
        features.anchors,
        enter,
        leave,
        ratio,
        round(max(MIN_GAIN_DB, gain), 2),
        True,
        features.analysis.key.name,
        features.stems,
        why,
        confidence=features.analysis.tempo.confidence if features.uncertain else 1.0,
    )
