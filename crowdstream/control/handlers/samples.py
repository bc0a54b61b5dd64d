"""Sample pads and announcements."""

from __future__ import annotations

from crowdstream.commands.registry import TABLE, Arg
from crowdstream.control.decks.announcer import Ducking
from crowdstream.control.decks.channel_strip import decibel_gain
from crowdstream.control.decks.deck_manager import RAMP_SECONDS
from crowdstream.control.decks.sampler import OUTPUTS
from crowdstream.control.handlers.common import MAX_GAIN, PATH_HELP, QUANTUM
from crowdstream.control.handlers.server_request import ServerRequest
from crowdstream.desk.ramps import RAMP_ANNOUNCEMENTS, RAMP_SAMPLES

_GAIN = Arg("gain", "f", "linear gain", low=0, high=MAX_GAIN)
_RAMP = Arg("seconds", "f", "ramp time", unit="s", low=0, high=3600, default=RAMP_SECONDS)
MAX_DUCK_DB = 60.0


def _seconds(name: str, help: str, default: float) -> Arg:
    return Arg(name, "f", help, unit="s", low=0, high=30, default=default)


@TABLE.add(
    "/sample/{sample}/load",
    Arg("path", "s", PATH_HELP),
    answers="`/done <address> id` when all of the sample is in memory",
)
def load(request: ServerRequest, sample: int, path: str) -> None:
    """Load a sample of up to 2 minutes onto the pad. All of it stays in memory."""
    request.core.sampler.load(request, sample, path)


@TABLE.add("/sample/{sample}/unload", answers="`/done <address>` when its memory is free")
def unload(request: ServerRequest, sample: int) -> None:
    """Stop the pad and free its memory. Its settings stay."""
    request.core.sampler.unload(request, sample)


@TABLE.add("/sample/{sample}/play", scheduled=True, quantized=True)
def play(request: ServerRequest, sample: int) -> None:
    """Play the sample from its beginning, at its own speed.

    Pads overlap; a pad that is already playing starts again.
    """
    request.core.sampler.play(request, sample)


@TABLE.add("/sample/{sample}/stop", scheduled=True)
def stop(request: ServerRequest, sample: int) -> None:
    """Fade the pad out."""
    request.core.sampler.stop(request, sample)


@TABLE.add("/sample/{sample}/level", _GAIN, _RAMP, scheduled=True)
def level(request: ServerRequest, sample: int, gain: float, seconds: float) -> None:
    """Set the pad's level."""
    request.core.sampler.set_level(request, sample, gain, seconds)


@TABLE.add(
    "/sample/{sample}/loop",
    Arg("on", "i", "1: loop the sample; 0: play it once", low=0, high=1),
    scheduled=True,
)
def loop(request: ServerRequest, sample: int, on: int) -> None:
    """Loop the pad's sample, now and whenever it is played."""
    request.core.sampler.set_loop(request, sample, bool(on))


@TABLE.add("/sample/{sample}/quantize", QUANTUM, control_only=True)
def quantize(request: ServerRequest, sample: int, beats: float | str) -> None:
    """Make the pad's starts wait for the next multiple of `beats` of the clock.

    0 uses the quantum of `/clock/quantize`. Commands with a time of their own do not wait.
    """
    request.core.quantize.samples[sample] = beats


@TABLE.add(
    "/sample/{sample}/output",
    Arg("output", "s", "where the pad is heard", choices=OUTPUTS),
    scheduled=True,
)
def output(request: ServerRequest, sample: int, output: str) -> None:
    """Route the pad to the master, to the cue bus, or to both."""
    request.core.sampler.set_output(request, sample, output)


@TABLE.add("/mix/samples", _GAIN, _RAMP, scheduled=True)
def samples_level(request: ServerRequest, gain: float, seconds: float) -> None:
    """Set the level of all sample pads in the master."""
    request.deck_manager.ramp(request, RAMP_SAMPLES, gain, seconds)


@TABLE.add("/mix/announcements", _GAIN, _RAMP, scheduled=True)
def announcements_level(request: ServerRequest, gain: float, seconds: float) -> None:
    """Set the level of announcements in the master."""
    request.deck_manager.ramp(request, RAMP_ANNOUNCEMENTS, gain, seconds)


@TABLE.add(
    "/announce",
    Arg("path", "s", "audio file of up to 10 minutes; otherwise as for `/deck/{deck}/load`"),
    Arg("depth", "f", "attenuation of everything else", unit="dB", low=0, high=MAX_DUCK_DB,
        default=14.0),
    _seconds("attack", "time in which the mix falls", 0.4),
    _seconds("hold", "from the end of the announcement until the mix rises", 0.3),
    _seconds("release", "time in which the mix rises", 1.2),
    _seconds("ahead", "from the beginning of the attack to that of the announcement", 0.5),
    answers="`/done /announce id` when it is loaded; then events `/announcement id state name`",
)
def announce(
    request: ServerRequest,
    path: str,
    depth: float,
    attack: float,
    hold: float,
    release: float,
    ahead: float,
) -> None:
    """Play a file over the ducked mix, after the announcements that are already in the queue.

    Subscribers of `/notify` receive `/announcement` with the states waiting, playing, and ended,
    failed or cancelled.
    """
    ducking = Ducking(decibel_gain(-depth), attack, hold, release, ahead)
    request.core.announcer.announce(request, path, ducking)


@TABLE.add("/announce/skip")
def announce_skip(request: ServerRequest) -> None:
    """Fade the current announcement out. The next one follows."""
    request.core.announcer.skip(request)


@TABLE.add("/announce/clear")
def announce_clear(request: ServerRequest) -> None:
    """Fade the current announcement out, and remove all others from the queue."""
    request.core.announcer.clear(request)
