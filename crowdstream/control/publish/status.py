"""Server status: values for programs, lines of text for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from crowdstream.commands.registry import BANDS, DECK_LETTERS
from crowdstream.control.clock.clock import BeatClock, Quantize
from crowdstream.control.decks.effects import Effects
from crowdstream.control.decks.pitch import PitchSettings
from crowdstream.control.decks.track import Track, first_buffer, resident_end
from crowdstream.control.decks.track_table import TrackTable
from crowdstream.control.decks.voice_allocator import VoiceAllocator
from crowdstream.control.engine_queue.queue import EngineQueue
from crowdstream.control.load_shedding import LoadShedding
from crowdstream.control.publish.event_log import EventLog
from crowdstream.control.replies import Replies
from crowdstream.control.scheduler import Scheduler
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import BUSES, CHAIN_BUS, CHAIN_INPUT, CHAIN_MASTER, DECKS, INPUTS
from crowdstream.desk.ramps import RAMP_TRIM, deck_level_ramp, eq_ramp
from crowdstream.desk.snapshot import DeskSnapshot, read_snapshot
from crowdstream.desk.stream_info import StreamInfo
from crowdstream.monitor.health import Processes, engine_readings, playing_voices
from crowdstream.monitor.watch import stats_line
from crowdstream.movement.follower import MovementFollower
from crowdstream.osc.socket import ReplySocket
from crowdstream.settings import Settings

STATUS_POSITIONAL_FIELDS = (
    "1",
    "voices that play",
    "stems that play",
    "decks",
    "buffers that hold a track",
    "CPU of all processes, percent of one core, over the last second",
    "its maximum so far",
    "requested sample rate, Hz",
    "sample rate of the device, Hz",
)

STATUS_NAMES = {
    "driver": "`pyaudio` or `null` (the built-in clock)",
    "device": "name of the sound device and its host API",
    "cue_outputs": "1: the cue bus plays on outputs 3 and 4 of the device",
    "standby": "state of the standby engine: running (beside the other), warm, or none",
    "takeovers": "times an engine took over where another one had stopped",
    "takeover_gap_ms": "audio lost in the latest takeover",
    "device_lost": "1: the sound device is gone; the server searches for it",
    "sample_rate": "Hz",
    "buffer_size": "frames of a block",
    "frame": "first frame of the next block",
    "latency_ms": "from callback to output: the device's latency plus the limiter's look-ahead",
    "budget_ms": "duration of a block, which a render must not exceed",
    "render_p50_ms": "median duration of a render",
    "render_p99_ms": "99th percentile",
    "render_max_ms": "maximum",
    "interval_max_ms": "longest interval between two callbacks",
    "underruns": "blocks that the device flagged as late",
    "underruns_late_callback": "of these, because the system woke the engine late",
    "underruns_slow_render": "because a render took longer than its block",
    "underruns_device": "while the engine was in time: caused by the device or the sound server",
    "underruns_engine": "gaps because an engine died or hung; not counted as underruns",
    "underruns_device_lost": "the same because the device was gone",
    "underruns_resized": "silences because the buffer size was changed; not counted as underruns",
    "over_budget": "renders that took longer than their block",
    "missing_pages": "times a stem fell silent because its page was not loaded",
    "missing_frames": "stem frames that were silent for that reason",
    "late_commands": "commands whose frame had passed when they arrived",
    "pending_refused": "commands refused because too many were pending in the engine",
    "events_lost": "events of the engine that control did not read in time",
    "hard_cuts": "jumps without a crossfade, because too many happened at once",
    "nonfinite": "frames that were not finite and were silenced",
    "limited_frames": "frames attenuated by the limiter",
    "guarded": "callbacks that failed and returned silence",
    "load_percent": "time to render in percent of a block: rises in 20 ms, falls in a second",
    "quality": "current quality level, 0 is full; see `/quality`",
    "quality_asked": "auto, or the fixed level that was set",
    "quality_lowered": "times the level was lowered because of CPU load",
    "cpu_control": "percent of one core over the last second",
    "cpu_engine": "the same of the engine process",
    "cpu_loader": "the same of the loader process",
    "messages": "OSC messages processed, successfully or not",
    "failed": "commands that failed",
    "malformed": "packets and bundled messages that were not valid OSC",
    "refused": "messages and commands refused because queues were full",
    "refused_packets": "of these, packets that were discarded unread",
    "limited": "of these, packets above the rate limit of their sender",
    "barred": "packets of senders that are not on `--osc-allow`; not counted elsewhere",
    "withheld": "answers to untrusted senders withheld: over four times as long as the request",
    "dropped": "packets lost by the system before they could be read",
    "lost": "messages refused, packets dropped and commands refused in the engine, together",
    "voices": "voices that play",
    "pages_total_mb": "memory for stems (`--cache-mb`)",
    "pages_used_mb": "of it, filled",
    "pages_reserved_mb": "of it, reserved for tracks",
    "pages_pinned_mb": "of it, pinned for beginnings, cues, hot cues, loops and playheads",
    "pages_evicted": "pages of 64 KiB that were evicted",
    "pages_wanted": "pages that starts, jumps and playheads have requested",
    "pages_hit_rate": "share of these that were in memory already",
    "read_max_ms": "longest time that the medium took to read a page or to open a file",
    "stalls": "times it took more than a second",
    "stalled_s": "duration of a current or very recent stall; 0: none",
    "restarts_loader": "times the loader has died and was restarted",
    "restarts_control": "times control has died and was restarted",
    "movement": "the latest `/dance/total_movement`",
    "recording": "files being recorded",
    "record_seconds": "length of the latest recording",
    "record_lost": "frames that the latest recording has lost to a slow disk",
    "broadcasts": "broadcasts that were started and not stopped",
    "broadcasts_live": "of them, connected",
    "broadcast_dropped_s": "audio dropped for receivers that were too slow, s",
    "broadcast_faults": "connections that were lost or did not succeed",
    "bpm": "tempo of the clock",
    "bpm_target": "tempo that the clock moves to",
    "bpm_base": "tempo at which decks without sync play at their own rate",
    "meter": "beats per bar",
    "beat": "beats since the last `/reset`",
    "lights_outputs": "targets of lights (`--lights`, `/lights/add`)",
    "lights_sending": "of these, targets that receive",
    "lights_lead_ms": "time by which they are ahead of the sound",
    "lights_sent": "messages and DMX frames sent",
    "lights_lost": "of these, discarded because a target did not take them in time",
    "lights_failures": "times that a target stopped receiving",
    "midi_ports": "MIDI ports that are wanted: the clock, the followed clock, controllers",
    "midi_connected": "of these, connected",
    "midi_locked": "1: a followed MIDI clock is locked",
    "midi_bpm": "its tempo",
    "midi_error_ms": "time by which its beats are ahead of the server's",
    "midi_lost": "messages of MIDI devices that were discarded: too many",
    "midi_absurd": "times that its tempo was outside of 20 to 400 beats per minute",
    "midi_ticks": "MIDI clock ticks sent",
    "open": "1: open, 0: closed by the schedule; -1: no schedule",
    "loudness_short_term": "of the last 3 s, LUFS; measured while a loudness limit applies",
    "loudness_average": "of the last 15 minutes, LUFS",
    "loudness_gain_db": "gain by which the loudness limit lowers the mix, dB",
    "samples": "sample pads that play",
    "announcement": "name of the announcement that plays; empty: none",
    "announcements": "announcements in the queue",
    "jack": "ports of a JACK server: off, searching (no server), or running",
    "jack_ports": "number of ports",
    "jack_connected": "connections of these ports",
    "jack_gaps": "times that their audio was interrupted",
    "jack_drift_ppm": "by how much the engine's clock is fast, compared with the JACK server",
    "jack_transport": "off (not followed), stopped or rolling",
    "input.{input}.state": "off (not configured), searching (no device), playing, muted, feedback "
    "(muted because it carries the output), or waiting (about to play)",
    "input.{input}.device": "name of its device",
    "input.{input}.latency_ms": "from the device to the mix; `latency_ms` follows",
    "input.{input}.fill_ms": "of that, audio that waits to be played",
    "input.{input}.drift_ppm": "by how much the device's clock is fast",
    "input.{input}.gaps": "times it ran out of audio, or had to begin again",
    "input.{input}.overflows": "blocks before which the device lost audio",
    "input.{input}.talking": "1: its talkover ducks the music",
    "link.state": "Ableton Link: off, joining (its process starts), failed (no library, no process "
    "or an unusable tempo), alone (no other peers), approaching (on the way to the session's tempo "
    "and phase), locked (in phase), leading, contested (another peer changes the tempo, too), or "
    "unplayable (no octave of the session's tempo can be played)",
    "link.mode": "follower, leader or peer",
    "link.peers": "other peers in the session",
    "link.bpm": "the session's tempo; 0: unknown",
    "link.deviation_ms": "by how much the session is ahead of the clock",
    "link.playing": "1: the session's transport runs",
    "link.faults": "unusable reports of the session, and losses of the Link process",
    "rooms.state": "rooms in step: off, starting (its process), failed (no key or no process), "
    "leading, searching (the leader does not answer or refuses), approaching, or in step (within "
    "0.7 ms)",
    "rooms.count": "rooms that follow this one",
    "rooms.in_step": "of these, in step",
    "rooms.deviation_ms": "by how much this room is behind its leader; of a leader, the largest",
    "rooms.error_ms": "uncertainty of the leader's clock; of a leader, the largest",
    "rooms.drift_ppm": "correction of the output's rate",
    "rooms.lead_ms": "by how much later a leader's commands act",
    "rooms.rejected": "packets that were forged, repeated or of an earlier session",
    "rooms.repeated": "packets with commands that were sent again",
    "rooms.relocks": "times that the deviation was too large to be corrected by the rate",
    "rooms.repairs": "differences from the leader that were corrected",
    "rooms.faults": "rooms or leaders that were lost, refused or lacked a file",
    "waiting": "messages scheduled for a time or beat",
    "events_unwritten": "events that are missing in the file of the event log",
    "alerts_sent": "alerts that a server of `--alert-url` has accepted",
    "alerts_failed": "alerts given up: too old, or refused",
    "alerts_waiting": "alerts that wait for an attempt, including one in progress",
    "master.peak": "largest sample since the last status",
    "deck.{deck}.state": "empty, loading, ready, playing or broken (plays what is loaded)",
    "deck.{deck}.track": "name of the track",
    "deck.{deck}.position": "s",
    "deck.{deck}.length": "s",
    "deck.{deck}.buffered": "s from the playhead to the first part that is not in memory; 0: "
    "that part has been reached, or it does not play",
    "deck.{deck}.rate": "playback rate of the track, without the tempo",
    "deck.{deck}.grid": "source of its beat grid: command, sidecar, correction, analysis or "
    "tag; empty without one",
    "deck.{deck}.grid_confidence": "confidence in the grid, 0 to 1; below 0.6 it is uncertain",
    "deck.{deck}.bpm": "tempo of its beat grid, 0 without one",
    "deck.{deck}.beat": "beat of its grid at the playhead",
    "deck.{deck}.phase": "beats by which it leads the clock, -0.5 to 0.5; at half or double tempo "
    "in its own beats",
    "deck.{deck}.sync": "its beats per beat of the clock, 0: not synced",
    "deck.{deck}.loop": "active loop as `in-out` in seconds; empty: none",
    "deck.{deck}.cues": "hot cues, such as `1:0.500 4:31.250`, s",
    "deck.{deck}.keylock": "1: key lock is requested, even if `quality` bypasses it now",
    "deck.{deck}.pitch": "semitones",
    "deck.{deck}.quantize": "beats to which its commands are quantized, 0: off",
    "deck.{deck}.lufs": "integrated loudness of the track, 0 until it is measured",
    "deck.{deck}.trim": "linear gain before the EQ",
    "deck.{deck}.level": "linear",
    "deck.{deck}.low": "linear gain of the EQ band; also `mid`, `high`",
    "deck.{deck}.fx": "its effect chain, slot by slot",
    **{f"bus.{bus + 1}.fx": f"the same of send bus {bus + 1}" for bus in range(BUSES)},
    "input.{input}.fx": "the same of the input",
    "master.fx": "the same of the master",
}


class StatusPart(Protocol):
    """A component that has fields for the status."""

    def readings(self) -> dict[str, Any]:
        """Field names with values."""


class StatusSource(Protocol):
    """Source of the status (see `Dispatcher`)."""

    settings: Settings
    desk: Desk
    info: StreamInfo
    processes: Processes
    osc: ReplySocket
    engine_queue: EngineQueue
    replies: Replies
    beat_clock: BeatClock
    track_table: TrackTable
    voice_allocator: VoiceAllocator
    pitches: PitchSettings
    effects: Effects
    load_shedding: LoadShedding
    quantize: Quantize
    follower: MovementFollower
    scheduler: Scheduler
    events: EventLog
    engine_readings: Callable[[], dict[str, Any]]
    base_bpm: float
    messages: int
    failures: int
    malformed: int
    restarts: int

    @property
    def storage_health(self) -> StatusPart:
        """Health of the storage medium."""

    @property
    def recordings(self) -> StatusPart:
        """Recordings in progress."""

    @property
    def broadcasts(self) -> StatusPart:
        """The broadcasts."""

    @property
    def sampler(self) -> StatusPart:
        """The sample pads."""

    @property
    def announcer(self) -> StatusPart:
        """The queue of announcements."""

    @property
    def live_inputs(self) -> StatusPart:
        """The live inputs."""

    @property
    def jack(self) -> StatusPart:
        """The ports of a JACK server."""

    @property
    def link(self) -> StatusPart:
        """The Link session."""

    @property
    def rooms(self) -> StatusPart:
        """The rooms in step."""

    @property
    def lights(self) -> StatusPart:
        """The lights."""

    @property
    def midi(self) -> StatusPart:
        """MIDI."""

    @property
    def opening_hours(self) -> StatusPart:
        """The opening hours."""


class Status:
    """Collects the status. For the control thread."""

    def __init__(self, core: StatusSource) -> None:
        self._core = core

    def line(self) -> str:
        """One-line summary for `systemctl status`."""
        desk = self._core.desk
        voices, underruns = playing_voices(desk), int(desk.ledger["device_flags"])
        return f"{voices} voices play on {self._core.info.device}, {underruns} underruns"

    def control_readings(self) -> dict[str, Any]:
        """Control's own counters."""
        core = self._core
        return {
            "messages": core.messages,
            "failed": core.failures,
            "malformed": core.malformed,
            "refused": core.osc.refused + core.engine_queue.refused,
            "refused_packets": core.osc.refused,
            "limited": core.osc.limited,
            "barred": core.osc.barred,
            "withheld": core.replies.withheld,
            "dropped": core.osc.dropped,
            "lost": core.osc.refused
            + core.engine_queue.refused
            + core.osc.dropped
            + int(core.desk.ledger["pending_refused"]),
            "voices": playing_voices(core.desk),
            **core.storage_health.readings(),
            "restarts_control": core.restarts,
            "movement": core.follower.movement,
            "waiting": len(core.scheduler),
            **core.sampler.readings(),
            **core.announcer.readings(),
            **core.live_inputs.readings(),
            **core.jack.readings(),
            **core.link.readings(),
            **core.rooms.readings(),
            **core.lights.readings(),
            **core.midi.readings(),
            **core.opening_hours.readings(),
            **core.recordings.readings(),
            **core.broadcasts.readings(),
            **core.events.counters(),
        }

    def deck_readings(self, deck: int, moment: DeskSnapshot) -> dict[str, Any]:
        """State of one deck and its track, with the playhead as of `moment`."""
        core = self._core
        desk, ramps = core.desk, core.desk.ramps
        keylock, semitones = core.pitches.settings(deck)
        readings: dict[str, Any] = {
            "state": "empty", "track": "", "position": 0.0, "length": 0.0, "buffered": 0.0,
            "rate": 1.0, "grid": "", "grid_confidence": 0.0, "bpm": 0.0, "beat": 0.0, "phase": 0.0,
            "sync": 0.0, "loop": "", "cues": "",
            "quantize": core.quantize.beats(deck, core.beat_clock.meter),
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
                buffered = resident_end(desk, track, position) - position
                readings["buffered"] = buffered / desk.sample_rate
            readings["position"] = position / desk.sample_rate
            readings |= self._time_readings(track, position, moment.frame)
        return readings

    def _time_readings(self, track: Track, position: int, frame: int) -> dict[str, Any]:
        core = self._core
        rate = core.desk.sample_rate
        readings: dict[str, Any] = {"sync": track.ratio}
        if track.grid:
            beat = track.grid.beat(position)
            apart = beat - core.beat_clock.beat(frame) * (track.ratio or 1.0)
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
        """The deck's track, or another one that plays on the deck."""
        core = self._core
        track = core.track_table.shown(first_buffer(deck))
        if track and track.sounding:
            return track
        return next(
            (other for other in core.voice_allocator.sounding() if other.deck == deck), track
        )

    def values(self) -> list[Any]:
        """SuperCollider's nine values, then names and values alternately.

        The nine: 1, voices, stems that play, decks, buffers, average CPU, peak CPU (percent
        of one core), nominal and actual sample rate.
        """
        core = self._core
        moment = read_snapshot(core.desk)
        playing = core.voice_allocator.sounding()
        cpu = core.processes
        values: list[Any] = [
            1,
            playing_voices(core.desk),
            sum(len(track.sources) for track in playing),
            DECKS,
            len(core.track_table.current),
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
        named.update(core.load_shedding.readings())
        named.update({f"cpu_{name}": value for name, value in cpu.cpu.items()})
        named.update(self.control_readings())
        named["bpm"] = core.beat_clock.bpm_at(moment.frame)
        named["bpm_target"] = core.beat_clock.bpm
        named["bpm_base"] = core.base_bpm
        named["meter"] = core.beat_clock.meter
        named["beat"] = core.beat_clock.beat(moment.frame)
        named["master.peak"] = float(core.desk.master["peak"])
        core.desk.master["peak"] = 0.0
        for deck, letter in enumerate(DECK_LETTERS):
            for name, value in self.deck_readings(deck, moment).items():
                named[f"deck.{letter}.{name}"] = value
            named[f"deck.{letter}.fx"] = core.effects.text(deck)
        for bus in range(BUSES):
            named[f"bus.{bus + 1}.fx"] = core.effects.text(CHAIN_BUS + bus)
        for number in range(INPUTS):
            named[f"input.{number + 1}.fx"] = core.effects.text(CHAIN_INPUT + number)
        named["master.fx"] = core.effects.text(CHAIN_MASTER)
        for name, value in named.items():
            values += [name, value]
        return values

    def text(self) -> str:
        """The status as a few lines of text."""
        core = self._core
        moment = read_snapshot(core.desk)
        lines = [stats_line(core.desk, core.processes, self.control_readings())]
        for deck, letter in enumerate(DECK_LETTERS):
            now = self.deck_readings(deck, moment)
            lines.append(
                f"deck {letter}: {now['state']:8} {now['track'][:30]:30} "
                f"{now['position']:7.1f} of {now['length']:.1f} s  level {now['level']:.2f}  "
                f"EQ {now['low']:.2f} {now['mid']:.2f} {now['high']:.2f}"
            )
        return "\n".join(lines)
