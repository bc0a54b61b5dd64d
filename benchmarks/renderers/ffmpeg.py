"""ffmpeg: one filter graph, with its own resampler or with soxr."""

from __future__ import annotations

from pathlib import Path

from benchmarks.renderers.base import Renderer, program_version
from benchmarks.scene import (
    HIGH_HZ,
    LOW_HZ,
    MID_HZ,
    MID_Q,
    RELEASE_SECONDS,
    SHELF_Q,
    Deck,
    Scene,
    decibels,
)

RESAMPLERS = {"swr": "its own resampler", "soxr": "soxr at 28 bits"}


class FFmpeg(Renderer):
    """`asetrate` and `aresample` for the rate, biquads for the EQ, `alimiter`. Samples are float
    from the resampler on; by default ffmpeg would mix in 16 bits."""

    get = "apt install ffmpeg"

    def __init__(self, resampler: str, summed: bool) -> None:
        self._resampler = resampler
        self.summed = summed
        self.name = f"ffmpeg {resampler}" + (" summed" if summed else "")
        self.does = f"{RESAMPLERS[resampler]}; bass, equalizer, treble (biquads); alimiter"

    def version(self) -> str | None:
        """See `Renderer`."""
        return program_version("ffmpeg", "-version", pattern=r"ffmpeg version (\S+)")

    def command(self, scene: Scene, folder: Path, out: Path) -> list[str]:
        """See `Renderer`."""
        paths = [stem.path for deck in scene.decks for stem in deck.stems]
        (folder / "graph").write_text(self.graph(scene))
        inputs = [argument for path in paths for argument in ("-i", path)]
        return [
            *("ffmpeg", "-nostdin", "-v", "error", "-y", *inputs),
            *("-filter_complex_script", "graph", "-map", "[out]"),
            *("-c:a", "pcm_f32le", str(out)),
        ]

    def graph(self, scene: Scene) -> str:
        """Return the filter graph in ffmpeg's syntax."""
        convert = self._convert(scene)
        chains = []
        stem_number = 0
        for number, deck in enumerate(scene.decks):
            names = []
            for stem in deck.stems:
                own = [f"volume={stem.gain}"] if self.summed else [*convert, f"volume={stem.gain}"]
                names.append(f"[s{stem_number}]")
                chains.append(f"[{stem_number}:a]{','.join(own)}{names[-1]}")
                stem_number += 1
            after = [*(convert if self.summed else ()), *_deck_filters(deck, scene.seconds)]
            chains.append(f"{''.join(names)}{','.join([_mix(len(names)), *after])}[d{number}]")
        decks = "".join(f"[d{number}]" for number in range(len(scene.decks)))
        master = [_mix(len(scene.decks))]
        if scene.limiter:
            release = 1000.0 * RELEASE_SECONDS
            master.append(f"alimiter=limit=1:level=disabled:release={release:g}")
        chains.append(f"{decks}{','.join(master)}[out]")
        return ";\n".join(chains)

    def _convert(self, scene: Scene) -> list[str]:
        options = ":precision=28" if self._resampler == "soxr" else ""
        return [
            f"asetrate={round(scene.sample_rate * scene.rate)}",
            f"aresample={scene.sample_rate}:resampler={self._resampler}{options}"
            ":internal_sample_fmt=fltp:out_sample_fmt=fltp",
        ]


def _mix(inputs: int) -> str:
    return f"amix=inputs={inputs}:normalize=0"


def _deck_filters(deck: Deck, seconds: float) -> list[str]:
    filters = []
    if not deck.flat:
        low, mid, high = (decibels(gain) for gain in deck.eq)
        filters += [
            f"bass=frequency={LOW_HZ}:width_type=q:width={SHELF_Q}:gain={low}",
            f"equalizer=frequency={MID_HZ}:width_type=q:width={MID_Q}:gain={mid}",
            f"treble=frequency={HIGH_HZ}:width_type=q:width={SHELF_Q}:gain={high}",
        ]
    filters.append(f"volume={deck.level}")
    if deck.fade:
        filters.append(f"afade=type={deck.fade}:duration={seconds}:curve=tri")
    return filters


def variants() -> list[Renderer]:
    """Return both resamplers, each per stem and with a deck's stems summed."""
    return [FFmpeg(resampler, summed) for resampler in RESAMPLERS for summed in (False, True)]
