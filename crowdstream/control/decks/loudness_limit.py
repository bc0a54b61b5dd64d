"""The loudness limit: lower the mix so that its loudness stays below limits in LUFS.

The loudness of the output is known from the engine's meters, and with the gain at that time also
that of the mix before it. From that follows the gain for the next moment:

- *short-term* (3 s): the gain falls at once to where the present short-term loudness meets the
  limit.
- *average* (15 min): the gain is such that the mix, as loud as it was over the last minute or over
  all 15, whichever is more, meets the limit. So a loud hour is not followed by a silent quarter of
  an hour, and a sudden rise is met within a minute.

It rises by at most `RISE_DB_SECOND`, too slowly to be heard.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from crowdstream.audiofile.loudness import lufs

SHORT_TERM_SECONDS, MINUTE_SECONDS, AVERAGE_SECONDS = 3, 60, 900
RISE_DB_SECOND = 0.1
MAX_REDUCTION_DB = 40.0


@dataclass
class LoudnessLimit:
    """Determines the gain from the loudness of one second after the other.

    `short_term`, `average`: limits in LUFS, None for no limit. `gain_db`: at most 0.
    """

    short_term: float | None = None
    average: float | None = None
    gain_db: float = 0.0
    # Mean squares (K-weighted, both channels) of past seconds: of the mix before the gain, and of
    # the output.
    _mix: deque[float] = field(default_factory=lambda: deque(maxlen=AVERAGE_SECONDS))
    _output: deque[float] = field(default_factory=lambda: deque(maxlen=AVERAGE_SECONDS))

    def second(self, output: float, mix: float) -> float:
        """Take the mean squares of output and mix over one second; return the gain in dB."""
        self._output.append(output)
        self._mix.append(mix)
        wanted = 0.0
        if self.short_term is not None:
            wanted = min(wanted, self.short_term - self._loudness(self._mix, SHORT_TERM_SECONDS))
        if self.average is not None:
            spans = (MINUTE_SECONDS, AVERAGE_SECONDS)
            past = max(self._loudness(self._mix, seconds) for seconds in spans)
            wanted = min(wanted, self.average - past)
        wanted = max(wanted, -MAX_REDUCTION_DB)
        self.gain_db = min(wanted, self.gain_db + RISE_DB_SECOND)
        return self.gain_db

    def readings(self) -> dict[str, float]:
        """Return short-term and average loudness of the output in LUFS, and the gain in dB."""
        return {
            "loudness_short_term": round(self._loudness(self._output, SHORT_TERM_SECONDS), 1),
            "loudness_average": round(self._loudness(self._output, AVERAGE_SECONDS), 1),
            "loudness_gain_db": round(self.gain_db, 1),
        }

    @staticmethod
    def _loudness(powers: deque[float], seconds: int) -> float:
        # Integrated without a gate, as sound level meters integrate.
        recent = [powers[at] for at in range(max(0, len(powers) - seconds), len(powers))]
        return lufs(sum(recent) / max(1, len(recent)))
