"""The answer to "how are you": numbers for programs, lines for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.commands.registry import BANDS, DECK_LETTERS
from crowdstream.control.clock.clock import BeatClock
from crowdstream.control.clock.quantize import Quantize
from crowdstream.control.decks.effects import Effects
from crowdstream.control.decks.pitch import PitchSettings
from crowdstream.control.decks.track import Track, first_buffer
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.load_shedding import LoadShedding
from crowdstream.control.replies import Replies
from crowdstream.control.scheduler import Scheduler
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import BUSES, CHAIN_BUS, CHAIN_MASTER, DECKS
from crowdstream.desk.ramps import RAMP_TRIM, deck_level_ramp, eq_ramp
from crowdstream.desk.snapshot import DeskSnapshot, read_moment
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.monitor.health import Processes, engine_readings, sounding
from crowdstream.monitor.watch import stats_line
from crowdstream.movement.follower import Follower
from crowdstream.osc.protocols import ReplySocket
from crowdstream.settings import Settings

STATUS_POSITIONAL_FIELDS = (
    "1",
    "voices that sound",
    "stems that sound",
    "decks",
    "buffers that hold a track",
    "CPU of all processes, percent of one core, over the last second",
    "its highest value so far",
    "sample rate asked for, Hz",
    "sample rate of the device, Hz",
)

STATUS_NAMES = {
    "driver": "`pyaudio` or `null` (the built-in clock)",
    "device": "name of the sound device and its host API",
    "cue_outputs": "1: the cue bus plays on outputs 3 and 4 of the device",
    "standby": "the engine that is ready to go on: running beside the other, warm, or none",
    "takeovers": "times an engine went on where another one had stopped",
    "takeover_gap_ms": "sound that was lost at the latest of these",
    "device_lost": "1: the sound device is gone and looked for",
    "sample_rate": "Hz",
    "buffer_size": "frames of a block",
    "frame": "frame that the next block begins with",
    "latency_ms": "from callback to sound: what the device reports and the limiter's look-ahead",
    "budget_ms": "what a block lasts: a render has to take less",
    "render_p50_ms": "median time of a render",
    "render_p99_ms": "99th percentile",
    "render_max_ms": "longest",
    "interval_max_ms": "longest time between two callbacks",
    "underruns": "blocks that the device flagged as late",
    "underruns_late_callback": "of these, because the system woke the engine late",
    "underruns_slow_render": "because a render took longer than its block",
    "underruns_device": "with the engine in time: the device's or the sound server's own",
    "underruns_engine": "gaps because an engine died or hung; not counted as underruns",
    "underruns_device_lost": "the same because the device was gone",
    "underruns_resized": "silences because the buffer size was changed; not counted as underruns",
    "over_budget": "renders that took longer than their block",
    "missing_pages": "times a stem fell silent because its page was not loaded",
    "missing_frames": "stem frames that were silent for that reason",
    "late_commands": "commands whose frame had passed when they came",
    "pending_refused": "commands refused because too many waited in the engine",
    "events_lost": "reports of the engine that control did not fetch in time",
    "hard_cuts": "jumps without a fade, because too many happened at once",
    "nonfinite": "frames that were not finite and were silenced",
    "limited_frames": "frames that the limiter has turned down",
    "guarded": "callbacks that failed and gave silence",
    "load_percent": "time to render in percent of a block: rises in 20 ms, falls in a second",
    "quality": "level that sounds, 0 full; see `/quality`",
    "quality_asked": "auto, or the level that is held",
    "quality_lowered": "times it was lowered because the time ran short",
    "cpu_control": "percent of one core over the last second",
    "cpu_engine": "the same of the engine process",
    "cpu_loader": "the same of the loader process",
    "messages": "OSC messages carried out or failed",
    "failed": "commands that failed",
    "malformed": "packets and messages of bundles that were not OSC",
    "refused": "messages and commands refused for want of room",
    "refused_packets": "of these, packets that were never looked at",
    "limited": "of these, packets above the rate of their sender",
    "barred": "packets of senders that are not on `--osc-allow`; they count nowhere else",
    "withheld": "answers not sent to strangers, being more than four times as long as the question",
    "dropped": "packets lost by the system before they could be read",
    "lost": "messages refused, packets dropped and commands refused in the engine, together",
    "voices": "voices that sound",
    "pages_total_mb": "memory for stems (`--memory`)",
    "pages_used_mb": "of it, filled",
    "pages_reserved_mb": "of it, promised to tracks",
    "pages_pinned_mb": "of it, held for beginnings, cues, hot cues, loops and playheads",
    "pages_evicted": "pages of 64 KiB that were taken back",
    "pages_wanted": "pages that starts, jumps and playheads have come to want",
    "pages_hit_rate": "share of these that were in memory already",
    "read_max_ms": "longest time that the medium took to give a page or to open a file",
    "stalls": "times it took more than a second",
    "stalled_s": "for how long it has not answered now, or had not in the last seconds; 0: it does",
    "restarts_loader": "times the loader has died and been started anew",
    "restarts_control": "times that control died, and a new one took over",
    "movement": "the latest `/dance/total_movement`",
    "recording": "files that are being recorded",
    "record_seconds": "length of the latest recording",
    "record_lost": "frames that its files have lost to a slow disk",
    "bpm": "tempo of the clock",
    "bpm_target": "tempo that it goes to",
    "bpm_base": "tempo at which decks that are not synced play at their own rate",
    "meter": "beats per bar",
    "beat": "beats since the last `/reset`",
    "waiting": "messages that wait for their time or beat",
    "master.peak": "largest sample since the last status",
    "deck.{deck}.state": "empty, loading, ready, playing or broken (plays what it has)",
    "deck.{deck}.track": "name of the track",
    "deck.{deck}.position": "s",
    "deck.{deck}.length": "s",
    "deck.{deck}.rate": "playback rate of the track, without the tempo",
    "deck.{deck}.grid": "where its beat grid is from: command, sidecar, correction, analysis or "
    "tag; empty without one",
    "deck.{deck}.grid_confidence": "how far it can be trusted, 0 to 1; below 0.6 it is uncertain",
    "deck.{deck}.bpm": "tempo of its beat grid, 0 without one",
    "deck.{deck}.beat": "beat of its grid under the playhead",
    "deck.{deck}.phase": "beats that it is after the clock's, -0.5 to 0.5, at half or double tempo "
    "in its own beats",
    "deck.{deck}.sync": "its beats per beat of the clock, 0: not synced",
    "deck.{deck}.loop": "in a loop: `in-out` in seconds; empty: not",
    "deck.{deck}.cues": "hot cues, such as `1:0.500 4:31.250`, s",
    "deck.{deck}.keylock": "1: its pitch is to be kept, whatever `quality` allows now",
    "deck.{deck}.pitch": "semitones",
    "deck.{deck}.quantize": "beats that its commands wait for, 0: none",
    "deck.{deck}.lufs": "integrated loudness of the track, 0 while it is not measured",
    "deck.{deck}.trim": "linear gain before the EQ",
    "deck.{deck}.level": "linear",
    "deck.{deck}.low": "linear gain of the EQ band; also `mid`, `high`",
    "deck.{deck}.fx": "its chain of effects, slot by slot",
    **{f"bus.{bus + 1}.fx": f"the same of send bus {bus + 1}" for bus in range(BUSES)},
    "master.fx": "the same of the master",
}


class Counting(Protocol):
    """A part that has numbers for the status."""

    def readings(self) -> dict[str, Any]:
        """Names with values."""


class Measured(Protocol):
    """What the status is gathered from (see `Core`)."""

    settings: Settings
    desk: Desk
    info: StreamInfo
    processes: Processes
    osc: ReplySocket
    outbox: EngineQueue
    answers: Replies
    beats: BeatClock
    buffers: TrackTable
    voices: VoiceAllocator
    pitches: PitchSettings
    effects: Effects
    quality: LoadShedding
    quantize: Quantize
    follower: Follower
    waiting: Scheduler
    engine_readings: Callable[[], dict[str, Any]]
    base_bpm: float
    messages: int
    failures: int
    malformed: int
    restarts: int

    @property
    def medium(self) -> Counting:
        """What the medium that files are on has been like."""

    @property
    def recordings(self) -> Counting:
        """What is recorded."""


class Status:
    """Gathers readings. Called from its control thread."""

    def __init__(self, core: Measured) -> None:
        self._core = core

    def line(self) -> str:
        """How it is in a few words, for `systemctl status`."""
        desk = self._core.desk
        voices, underruns = sounding(desk), int(desk.ledger["device_flags"])
        return f"{voices} voices sound on {self._core.info.device}, {underruns} underruns"

    def control_readings(self) -> dict[str, Any]:
        """What control itself counts."""
        core = self._core
        return {
            "messages": core.messages,
            "failed": core.failures,
            "malformed": core.malformed,
            "refused": core.osc.refused + core.outbox.refused,
            "refused_packets": core.osc.refused,
            "limited": core.osc.limited,
            "barred": core.osc.barred,
            "withheld": core.answers.withheld,
            "dropped": core.osc.dropped,
            "lost": core.osc.refused
            + core.outbox.refused
            + core.osc.dropped
            + int(core.desk.ledger["pending_refused"]),
            "voices": sounding(core.desk),
            **core.medium.readings(),
            "restarts_control": core.restarts,
            "movement": core.follower.movement,
            "waiting": len(core.waiting),
            **core.recordings.readings(),
        }

    def deck_readings(self, deck: int, moment: DeskSnapshot) -> dict[str, Any]:
        """State of one deck and of its track, its playhead as it was at `moment`."""
        core = self._core
        desk, ramps = core.desk, core.desk.ramps
        keylock, semitones = core.pitches.settings(deck)
        readings: dict[str, Any] = {
            "state": "empty", "track": "", "position": 0.0, "length": 0.0, "rate": 1.0,
            "grid": "", "grid_confidence": 0.0, "bpm": 0.0, "beat": 0.0, "phase": 0.0,
            "sync": 0.0, "loop": "", "cues": "",
            "quantize": core.quantize.beats(deck, core.beats.meter),
            "lufs": 0.0,
            "keylock": int(keylock), "pitch": semitones,
            "trim": float(ramps["value"][RAMP_TRIM + deck]),
            "level": float(ramps["value"][deck_level_ramp(deck)]),
        }
        for band, name in enumerate(BANDS):
            readings[name] = float(ramps["value"][eq_ramp(deck, band)])
        track = self.track_of(deck)
        if track:
            readings["track"] = track.name
            readings["length"] = track.frames / desk.sample_rate
            readings["rate"] = track.rate
            readings["lufs"] = track.lufs or 0.0
            readings["state"] = track.state if track.state != "opened" else "loading"
            position = track.cue_frame
            if track.sounding and track.voice is not None:
                if track.state != "broken":
                    readings["state"] = "playing"
                position = moment.positions[track.voice]
            readings["position"] = position / desk.sample_rate
            readings |= self._time_readings(track, position, moment.frame)
        return readings

    def _time_readings(self, track: Track, position: int, frame: int) -> dict[str, Any]:
        core = self._core
        rate = core.desk.sample_rate
        readings: dict[str, Any] = {"sync": track.ratio}
        if track.grid:
            beat = track.grid.beat(position)
            apart = beat - core.beats.beat(frame) * (track.ratio or 1.0)
            readings |= {
                "grid": track.grid.source, "grid_confidence": track.grid.confidence,
                "bpm": track.grid.bpm, "beat": beat,
                "phase": (apart + 0.5) % 1.0 - 0.5,
            }
        if track.sounding and track.voice is not None:
            voice = core.desk.voices[track.voice]
            if voice["loop"]:
                begin, end = int(voice["loop_in"]) / rate, int(voice["loop_out"]) / rate
                readings["loop"] = f"{begin:.3f}-{end:.3f}"
        cues = sorted(track.cues.items())
        readings["cues"] = " ".join(f"{number}:{frame / rate:.3f}" for number, frame in cues)
        return readings

    def track_of(self, deck: int) -> Track | None:
        """The deck's track, or whatever else of the deck plays."""
        core = self._core
        track = core.buffers.shown(first_buffer(deck))
        if track and track.sounding:
            return track
        return next((other for other in core.voices.sounding() if other.deck == deck), track)

    def values(self) -> list[Any]:
        """SuperCollider's nine values, then names and values by turns.

        The nine: 1, voices, stems that sound, decks, buffers, average CPU, peak CPU (percent
        of one core), nominal and actual sample rate.
        """
        core = self._core
        moment = read_moment(core.desk)
        playing = core.voices.sounding()
        cpu = core.processes
        values: list[Any] = [
            1,
            sounding(core.desk),
            sum(len(track.sources) for track in playing),
            DECKS,
            len(core.buffers.current),
            float(cpu.total),
            float(cpu.peak),
            float(core.settings.sample_rate),
            core.desk.sample_rate,
        ]
        named: dict[str, Any] = {"driver": core.info.driver, "device": core.info.device}
        named["cue_outputs"] = int(core.info.cue)
        named.update(core.engine_readings())
        named.update(engine_readings(core.desk))
        named["frame"] = moment.frame
        named.update(core.quality.readings())
        named.update({f"cpu_{name}": value for name, value in cpu.cpu.items()})
        named.update(self.control_readings())
        named["bpm"] = core.beats.bpm_at(moment.frame)
        named["bpm_target"] = core.beats.bpm
        named["bpm_base"] = core.base_bpm
        named["meter"] = core.beats.meter
        named["beat"] = core.beats.beat(moment.frame)
        named["master.peak"] = float(core.desk.master["peak"])
        core.desk.master["peak"] = 0.0
        for deck, letter in enumerate(DECK_LETTERS):
            for name, value in self.deck_readings(deck, moment).items():
                named[f"deck.{letter}.{name}"] = value
            named[f"deck.{letter}.fx"] = core.effects.text(deck)
        for bus in range(BUSES):
            named[f"bus.{bus + 1}.fx"] = core.effects.text(CHAIN_BUS + bus)
        named["master.fx"] = core.effects.text(CHAIN_MASTER)
        for name, value in named.items():
            values += [name, value]
        return values

    def text(self) -> str:
        """The status in a few lines."""
        core = self._core
        moment = read_moment(core.desk)
        lines = [stats_line(core.desk, core.processes, self.control_readings())]
        for deck, letter in enumerate(DECK_LETTERS):
            now = self.deck_readings(deck, moment)
            lines.append(
                f"deck {letter}: {now['state']:8} {now['track'][:30]:30} "
                f"{now['position']:7.1f} of {now['length']:.1f} s  level {now['level']:.2f}  "
                f"EQ {now['low']:.2f} {now['mid']:.2f} {now['high']:.2f}"
            )
        return "\n".join(lines)
