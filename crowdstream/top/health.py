"""Lines about the server itself: underruns, render times, processes, memory, messages."""

from __future__ import annotations

from rich.text import Text

from crowdstream.top.fields import Field, Glyphs, field, labelled, line, minutes, share_bar
from crowdstream.top.readings import Readings

RECENT_SECONDS = 10.0  # for which an underrun is highlighted
CAUSES = {
    "late_callback": "late callback", "slow_render": "slow render", "device": "device",
}  # fmt: skip
OTHER_GAPS = {
    "missing_pages": "missing pages", "underruns_engine": "engine died",
    "underruns_device_lost": "device lost",
}  # fmt: skip
SHOWN_IF_NONZERO = {
    "nonfinite": "frames not finite", "guarded": "failed callbacks", "events_lost": "events lost",
    "restarts_loader": "loader restarts", "restarts_control": "control restarts",
}  # fmt: skip
BUSY, VERY_BUSY = 0.7, 1.0  # share of a block's duration; load shedding starts above the first
INPUTS = (1, 2)
INPUT_STYLES = {"playing": "green", "searching": "yellow", "feedback": "bold red"}
SHARES = (
    ("broadcasts", "broadcasts", "broadcasts_live"),
    ("lights", "lights_outputs", "lights_sending"),
    ("MIDI ports", "midi_ports", "midi_connected"),
)
LEVELS = {0: "full", 1: "no optional effects", 2: "no key lock", 3: "short interpolation"}


def health_lines(
    readings: Readings, width: int, rows: int, now: float, glyphs: Glyphs
) -> list[Text]:
    """Return up to `rows` lines, the most important first."""
    found = [_gaps(readings, now), _render(readings, glyphs), _messages(readings),
             _processes(readings), _inputs_and_peers(readings), _recording(readings),
             _rare(readings)]  # fmt: skip
    return [line(width, fields) for fields in [fields for fields in found if fields][:rows]]


def _grade(bad: bool, style: str = "bold red") -> str:
    return style if bad else ""


def _counted(readings: Readings, label: str, name: str, rank: int) -> Field:
    """Return a field with a count that should be 0."""
    count = readings.count(name)
    return labelled(label, str(count), _grade(count > 0, "yellow"), rank)


def _gaps(readings: Readings, now: float) -> list[Field]:
    underruns = readings.count("underruns")
    recent = now - readings.gap_at < RECENT_SECONDS
    style = "bold red" if recent else "yellow"
    causes = [
        f"{readings.count('underruns_' + name)} {words}" for name, words in CAUSES.items()
        if readings.count(f"underruns_{name}")
    ]  # fmt: skip
    text = f"{underruns} ({', '.join(causes)})" if causes else str(underruns)
    found = [labelled("underruns", text, style if underruns else "green")]
    for name, words in OTHER_GAPS.items():
        count = readings.count(name)
        if count or name == "missing_pages":
            found.append(labelled(words, str(count), style if count else "green", 1))
    found.append(_counted(readings, "over budget", "over_budget", 5))
    for name, words in SHOWN_IF_NONZERO.items():
        if readings.count(name):
            found.append(_counted(readings, words, name, 4))
    if readings.number("stalled_s"):
        found.append(field(f"medium stalls for {readings.number('stalled_s'):.1f} s", "bold red"))
    return found


def _render(readings: Readings, glyphs: Glyphs) -> list[Field]:
    budget = readings.number("budget_ms")
    p99, most = readings.number("render_p99_ms"), readings.number("render_max_ms")
    p50 = readings.number("render_p50_ms")
    load = readings.number("load_percent") / 100.0
    style = "red" if load >= VERY_BUSY else "yellow" if load >= BUSY else "green"
    times = Text.assemble(
        ("render p50 ", "dim"), f"{p50:.2f}", (" p99 ", "dim"),
        (f"{p99:.2f}", _grade(p99 > BUSY * budget, "yellow")), (" max ", "dim"),
        (f"{most:.2f}", _grade(most > budget, "yellow")), (f" of {budget:.2f} ms", "dim"), end="",
    )  # fmt: skip
    level = readings.count("quality")
    held = "" if readings.text("quality_asked") in ("", "auto") else " (held)"
    words = f"{level} {LEVELS[level]}" if level in LEVELS and level else "full"
    return [
        Field(times),
        Field(Text.assemble(share_bar(load, 8, style, glyphs), f" {100 * load:3.0f} %", end=""), 2),
        labelled("quality", words + held, _grade(level > 0, "yellow"), 1),
    ]


def _messages(readings: Readings) -> list[Field]:
    takeovers = readings.count("takeovers")
    standby = readings.text("standby")
    return [
        labelled("latency", f"{readings.number('latency_ms'):.1f} ms"),
        labelled("OSC", f"{readings.osc_rate:.0f}/s", "", 1),
        _counted(readings, "late", "late_commands", 2),
        _counted(readings, "failed", "failed", 3),
        _counted(readings, "lost", "lost", 2),
        labelled("standby", standby or "none", "green" if standby == "warm" else "", 1),
        labelled("takeovers", str(takeovers), _grade(takeovers > 0, "yellow"), 4),
    ]


def _processes(readings: Readings) -> list[Field]:
    cpu = {
        name.removeprefix("cpu_"): readings.number(name)
        for name in readings.status if name.startswith("cpu_")
    }  # fmt: skip
    each = " ".join(f"{name} {value:.0f}" for name, value in cpu.items())
    used, total = readings.number("pages_used_mb"), readings.number("pages_total_mb")
    return [
        labelled("CPU", f"{sum(cpu.values()):.0f} %"),
        field(each, "dim", 2),
        labelled("pages", f"{used:.0f} of {total:.0f} MB"),
        labelled("pinned", f"{readings.number('pages_pinned_mb'):.0f}", "", 3),
        labelled("evicted", f"{readings.count('pages_evicted')}", "", 4),
        labelled("hits", f"{100 * readings.number('pages_hit_rate'):.0f} %", "", 5),
    ]


def _recording(readings: Readings) -> list[Field]:
    files = readings.count("recording")
    if files:
        length = minutes(readings.number("record_seconds"), tenths=False)
        plural = "" if files == 1 else "s"
        found = [field("REC", "bold red"), field(f"{length} in {files} file{plural}")]
    else:
        found = [field("no recording", "dim")]
    found.append(_counted(readings, "frames lost", "record_lost", 3))
    found.append(labelled("voices", str(readings.count("voices")), "", 1))
    found.append(labelled("waiting", str(readings.count("waiting")), "", 4))
    found.append(_counted(readings, "hard cuts", "hard_cuts", 3))
    return found


def _rare(readings: Readings) -> list[Field]:
    return [
        labelled("longest interval", f"{readings.number('interval_max_ms'):.1f} ms"),
        labelled("slowest read", f"{readings.number('read_max_ms'):.0f} ms", "", 1),
        _counted(readings, "malformed", "malformed", 3),
        _counted(readings, "barred", "barred", 4),
        labelled("limited", f"{readings.count('limited_frames')} frames", "", 2),
    ]


def _inputs_and_peers(readings: Readings) -> list[Field]:
    # What is enabled of the optional parts, and nothing else.
    found = []
    for number in INPUTS:
        state = readings.text(f"input.{number}.state")
        if state not in ("", "off"):
            latency = readings.number(f"input.{number}.latency_ms")
            text = f"{state} {latency:.0f} ms" if state in ("playing", "waiting") else state
            found.append(labelled(f"input {number}", text, INPUT_STYLES.get(state, "")))
            gaps = readings.count(f"input.{number}.gaps")
            if gaps:
                found.append(labelled("gaps", str(gaps), "yellow", 2))
    if readings.text("jack") not in ("", "off"):
        missing = readings.text("jack") == "searching"
        text = "no server" if missing else f"{readings.count('jack_connected')} connections"
        found.append(labelled("JACK ports", text, _grade(missing, "yellow"), 1))
    if readings.text("rooms.state") not in ("", "off"):
        text = readings.text("rooms.state")
        if text == "leading":
            text = f"{readings.count('rooms.in_step')} of {readings.count('rooms.count')} in step"
        found.append(labelled("rooms", text, _grade(text in ("failed", "searching"), "yellow"), 1))
    if readings.text("link.state") not in ("", "off"):
        text = f"{readings.text('link.state')}, {readings.count('link.peers')} peers"
        found.append(labelled("Link", text, "", 1))
    for label, wanted, working in SHARES:
        count, good = readings.count(wanted), readings.count(working)
        if count:
            found.append(labelled(label, f"{good} of {count}", _grade(good < count, "yellow"), 1))
    return found
