"""Generate the OSC reference from the command table, one page per subject."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import crowdstream.control.handlers  # noqa: F401  (fills the table)
from crowdstream.commands.registry import REQUIRED, TABLE, Arg, Command
from crowdstream.control.publish.status import STATUS_NAMES, STATUS_POSITIONAL_FIELDS
from crowdstream.desk.constants import STEMS
from crowdstream.desk.effects import Module
from crowdstream.effects import MODULES

MARK = "<!-- Generated: `crowdstream reference docs/reference`. A test fails when it is stale. -->"

_CHAIN = re.compile(
    r"^/(deck/\{deck\}|bus/\{bus\}|mix|input/\{input\})(?=/fx/)|^(deck|bus|mix|input)(?=_fx_)"
)
CHAINS = ("/deck/{deck}", "/bus/{bus}", "/mix", "/input/{input}")
_ROUTES = ("/mix/route", "/deck/{deck}/send", "/deck/{deck}/send/pre")


@dataclass(frozen=True)
class Subject:
    """A page of the reference, with the commands whose addresses begin with one of `prefixes`."""

    slug: str
    title: str
    about: str
    prefixes: tuple[str, ...] = ()


EFFECTS = Subject(
    "effects", "Effects, sends and routes",
    "Chains of effects, send buses and routing. "
    "[Effects and routing](../../concepts/effects-and-routing.md) introduces them.",
)  # fmt: skip
SEQUENCERS = Subject(
    "existing-sequencers", "The vocabulary of existing sequencers",
    "These addresses stay as they are. "
    "[Migrate from the first server](../../how-to/migrate-from-the-first-server.md) lists the "
    "newer addresses beside them.",
)  # fmt: skip
SUBJECTS = (
    Subject(
        "clock", "The clock",
        "Tempo, meter and commands at beats. "
        "[Time and sync](../../concepts/time-and-sync.md) introduces them.",
        ("/clock/", "/deck/{deck}/quantize"),
    ),
    Subject(
        "grids-and-sync", "Beat grids and sync",
        "The positions of a track's beats, and the sync of decks to the clock. "
        "[Beat grids](../../concepts/time-and-sync.md#beat-grids) has the details.",
        ("/deck/{deck}/grid", "/deck/{deck}/sync"),
    ),
    Subject(
        "cues-and-loops", "Hot cues, jumps and loops", "Move the playhead within a track.",
        tuple(
            f"/deck/{{deck}}/{name}"
            for name in ("seek", "jump", "hotcue", "loop", "slip", "reverse", "brake", "softstart")
        ),
    ),
    EFFECTS,
    Subject(
        "samples", "Sample pads and announcements",
        "Short files at the press of a pad, and files that are played over the ducked mix. "
        "[Samples and announcements](../../how-to/play-samples-and-announcements.md) has examples.",
        ("/sample/{", "/mix/samples", "/announce", "/mix/announcements"),
    ),
    Subject(
        "inputs", "Live inputs",
        "Microphones, instruments and other sources on the inputs of `--input`. "
        "[Live inputs](../../how-to/use-live-inputs.md) has examples.",
        ("/input/{",),
    ),
    Subject(
        "jack", "JACK ports",
        "Decks, stems and buses as ports of a JACK or PipeWire server. "
        "[JACK ports](../../how-to/use-jack-ports.md) describes them.",
        ("/jack/",),
    ),
    Subject(
        "link", "Ableton Link",
        "Follow a session in the network, or lead it. "
        "[Ableton Link](../../how-to/use-ableton-link.md) describes the setup.",
        ("/link/",),
    ),
    Subject(
        "rooms", "Rooms",
        "Several servers that play the same set in step. "
        "[Keep rooms in step](../../how-to/keep-rooms-in-step.md) describes the setup.",
        ("/rooms/",),
    ),
    Subject(
        "decks-and-mixer", "Decks, stems and the mix",
        "Loading, starting, levels, EQ and filters. "
        "[Decks and stems](../../concepts/decks-and-stems.md) introduces them.",
        ("/deck/{", "/mix/", "/meters"),
    ),
    Subject(
        "recording", "Recording",
        "[Record](../../how-to/record.md) describes formats and possible failures.", ("/record/",),
    ),
    Subject(
        "broadcast", "Broadcast",
        "Icecast, HLS and Snapcast. [Broadcast](../../how-to/broadcast.md) has examples.",
        ("/broadcast/",),
    ),
    Subject(
        "lights", "Lights",
        "Outputs of beats, sections, energy and levels. "
        "[Drive lights](../../how-to/drive-lights.md) has examples.",
        ("/lights/",),
    ),
    Subject(
        "midi", "MIDI",
        "MIDI clock and controllers. [Use MIDI](../../how-to/use-midi.md) has examples.",
        ("/midi/",),
    ),
    Subject(
        "opening-hours", "Opening hours",
        "[Keep opening hours](../../how-to/keep-opening-hours.md) describes schedules.",
        ("/schedule/",),
    ),
    Subject(
        "dj", "The automatic DJ",
        "Commands to the DJ, and those that the DJ itself sends to the server. "
        "[The DJ](../../concepts/the-dj.md) describes what it does.",
        ("/dj/",),
    ),
    SEQUENCERS,
    Subject(
        "server", "The server",
        "Status, subscriptions and scheduled messages. [Status](status.md) lists the contents of "
        "`/status.reply`.",
        (
            "/status", "/notify", "/changes/", "/feedback", "/waiting", "/cancel", "/sync",
            "/ping", "/version", "/quality", "/buffer_size", "/events", "/settings/",
        ),
    ),
)  # fmt: skip


def _default(arg: Arg) -> str:
    if arg.default is REQUIRED:
        return "required"
    if arg.default is None:
        return "none"
    if arg.rest:
        return "none"
    if arg.type == "s":
        return f'"{arg.default}"'
    return f"{arg.default:g}"


def _allowed(arg: Arg) -> str:
    if arg.choices:
        return ", ".join(arg.choices)
    if arg.words:
        return f"{arg.range_text()}, {', '.join(arg.words)}"
    text = arg.range_text()
    return text if text else "any"


def _merged(text: str) -> str:
    # Addresses of single stems differ only in the number, those of chains only in the chain.
    text = _CHAIN.sub(lambda found: "{chain}", text)
    return re.sub(r"(deck.*[/_]stem[/_])\d(?!\d)", r"\1{number}", text)


def _entry(same: Sequence[Command]) -> str:
    # One entry for commands that differ only in the stem or the chain.
    command = same[0]
    lines = [f"## `{_merged(command.usage())}`", "", command.help, ""]
    for alias in command.aliases:
        lines += [f"Alias: `{_merged(alias)}`.", ""]
    if "/fx/" in command.address and command.address != _merged(command.address):
        lines += ["`{chain}` stands for `/deck/{deck}`, `/bus/{bus}`, `/mix` or "
                  "`/input/{input}`.", ""]
    elif _merged(command.address) != command.address:
        lines += [f"`{{number}}` stands for 1 to {STEMS}.", ""]
    if command.args:
        lines += ["| argument | type | allowed | default | meaning |", "| --- " * 5 + "|"]
        lines += [
            f"| {arg.name} | {arg.type} | {_allowed(arg)} | {_default(arg)} | {arg.help} |"
            for arg in command.args
        ]
        lines.append("")
    if command.answers:
        lines += [f"Reply: {command.answers}.", ""]
    marks = [name for name in ("quantized", "button") if getattr(command, name)]
    if marks:
        lines += [f"{', '.join(marks).capitalize()}.", ""]
    calls = [_calls(names) for names in zip(*(one.names for one in same), strict=True)]
    lines += [f"Python: {'; alias: '.join(calls)}", ""]
    return "\n".join(lines)


def _calls(names: Sequence[str]) -> str:
    calls = [f"`osc_{name}(address, ...)`" for name in dict.fromkeys(names)]
    return ", ".join(calls) if len(calls) <= len(CHAINS) else f"{calls[0]} to {calls[-1]}"


def _module(module: Module) -> str:
    # The parameters of an effect module, from its declaration.
    lines = [f"### `{module.name}`", "", module.help, ""]
    notes = [f"Its default mix is {module.mix:g}."]
    if not module.starts_on:
        notes.append("It is off when it is inserted.")
    if module.tail:
        notes.append("It has a tail.")
    if module.optional:
        notes.append("It is bypassed under CPU overload.")
    lines += [" ".join(notes), ""]
    lines += ["| parameter | allowed | default | ramp | meaning |", "| --- " * 5 + "|"]
    for p in module.parameters:
        allowed = f"{p.low:g} to {p.high:g} {p.unit}".rstrip() + (", whole" if p.whole else "")
        ramp = f"{p.ramp:g} s" if p.ramp else "none"
        lines.append(f"| {p.name} | {allowed} | {p.default:g} | {ramp} | {p.help} |")
    return "\n".join([*lines, "", ""])


def subject_of(command: Command) -> Subject:
    """Return the page that describes a command."""
    if "/fx/" in command.address or command.address in _ROUTES:
        return EFFECTS
    for subject in SUBJECTS:
        if subject.prefixes and command.address.startswith(subject.prefixes):
            return subject
    return SEQUENCERS


def _page(subject: Subject) -> str:
    parts = [f"# {subject.title}\n\n{MARK}\n\n{subject.about}\n\n"]
    # The same command of all stems, or of all chains, is one entry.
    entries: dict[str, list[Command]] = {}
    for command in TABLE.commands:
        if subject_of(command) is subject:
            entries.setdefault(_merged(command.usage()), []).append(command)
    parts += [_entry(same) + "\n" for same in entries.values()]
    if subject is EFFECTS:
        parts.append("## The modules\n\n")
        parts += [_module(module) for module in MODULES.values()]
    return "".join(parts).rstrip() + "\n"


def _status_page() -> str:
    parts = [f"# Status\n\n{MARK}\n\nThe reply to `/status` is `/status.reply`. Its first nine "
             "values are in the order of SuperCollider's server:\n\n"]
    parts += [f"{number}. {text}\n" for number, text in enumerate(STATUS_POSITIONAL_FIELDS, 1)]
    parts.append("\nThen names and values alternate:\n\n| name | meaning |\n| --- | --- |\n")
    parts += [f"| `{name}` | {text} |\n" for name, text in STATUS_NAMES.items()]
    return "".join(parts)


def osc_pages() -> dict[str, str]:
    """Return the generated pages of `docs/reference/osc/`, by file name."""
    made = {f"{subject.slug}.md": _page(subject) for subject in SUBJECTS}
    return {**made, "status.md": _status_page()}
