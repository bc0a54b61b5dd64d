"""The expected state view after each command of the table that changes state."""

from __future__ import annotations

from typing import Any

import pytest

# "SONG" stands for the path of a folder with two stems of 8 s.
SETUP: list[tuple[Any, ...]] = [
    ("/deck/A/load", "SONG"), ("/deck/A/play",), ("/deck/A/grid", 120.0),
    ("/load_buffer", 101, "SONG"), ("/play_stem", 101),
    ("/deck/A/loop/set", 0.5, 4.0), ("/deck/A/hotcue/set", 1, 1.0),
    *((f"{chain}/fx/insert", 1, "echo") for chain in ("/deck/A", "/bus/1", "/mix")),
    ("/deck/A/kill", "mid"), ("/cue", "D", "SONG"), ("/deck/D/grid", 120.0),
]  # fmt: skip

# For each command with a lasting effect: the part of the state view that the page receives, the
# path within it, and the value; `...` accepts any other value.
CASES: list[tuple[str, tuple[Any, ...], str, Any]] = [
    ("/clock/tempo", (126.0,), "clock/target", 126.0),
    ("/set_tempo", (125.0,), "clock/bpm", 125.0),
    ("/clock/meter", (3,), "clock/meter", 3),
    ("/set_meter", (5,), "clock/meter", 5),
    ("/clock/reset", (), "clock/zero", ...),
    ("/reset", (), "clock/zero", ...),
    ("/clock/quantize", ("bar",), "clock/quantize", "bar"),
    ("/print_clock", (1,), "clock/print_clock", 1),
    ("/deck/A/quantize", (4.0,), "deck.A/quantize", 4.0),
    ("/deck/A/grid", (100.0, 0.25), "deck.A/bpm", 100.0),
    ("/deck/A/grid/point", (8.0, 4.5), "deck.A/grid/seconds", ...),
    ("/deck/A/grid/points", (0.0, 0.0, 1.0, 0.5, 3.0, 2.0), "deck.A/grid/beats", [0.0, 1.0, 3.0]),
    ("/deck/A/grid/confidence", (0.5,), "deck.A/grid/confidence", 0.5),
    ("/deck/A/grid/clear", (), "deck.A/grid", None),
    ("/deck/A/sync", (1, 4.0), "deck.A/sync", 1.0),
    ("/deck/A/sync", (1, 2.0), "deck.A/sync_quantum", 2.0),
    ("/deck/A/sync/ratio", (0.5,), "deck.A/sync_ratio", 0.5),
    ("/deck/D/seek", (1.5,), "deck.D/cue", 1.5),
    ("/deck/D/seek/fraction", (0.5,), "deck.D/cue", 4.0),
    ("/deck/D/seek/beat", (4.0,), "deck.D/cue", 2.0),
    ("/deck/A/loop", (2.0,), "deck.A/loop_beats", 2.0),
    ("/deck/A/loop/set", (1.0, 2.0), "deck.A/loop", [1.0, 2.0]),
    ("/deck/A/loop/in", (), "deck.A/loop_in", ...),
    ("/deck/A/loop/halve", (), "deck.A/loop", [0.5, 2.25]),
    ("/deck/A/loop/double", (), "deck.A/loop", [0.5, 7.5]),
    ("/deck/A/loop/move", (1.0,), "deck.A/loop", [1.0, 4.5]),
    ("/deck/A/loop/exit", (), "deck.A/loop_left", [0.5, 4.0]),
    ("/deck/A/hotcue/set", (2, 0.25), "deck.A/cues", {"1": 1.0, "2": 0.25}),
    ("/deck/A/hotcue/clear", (1,), "deck.A/cues", {}),
    ("/deck/A/slip", (1,), "deck.A/slip", 1),
    ("/deck/A/reverse", (1,), "deck.A/reverse", 1),
    ("/deck/A/brake", (0.1, 0), "deck.A/spin", 0),
    ("/deck/D/softstart", (0.1,), "deck.D/state", "playing"),
    *(
        case
        for chain, place in (
            ("/deck/A", "deck.A/fx"), ("/bus/1", "buses/0/fx"), ("/mix", "mixer/fx")
        )
        for case in (
            (f"{chain}/fx/insert", (2, "drive"), f"{place}/1/name", "drive"),
            (f"{chain}/fx/swap", (1, "gate"), f"{place}/0/name", "gate"),
            (f"{chain}/fx/remove", (1,), f"{place}/0", None),
            (f"{chain}/fx/move", (1, 3), f"{place}/2/name", "echo"),
            (f"{chain}/fx/set", (1, "feedback", 0.25), f"{place}/0/values/feedback", 0.25),
            (f"{chain}/fx/mix", (1, 0.75), f"{place}/0/mix", 0.75),
            (f"{chain}/fx/on", (1, 0), f"{place}/0/on", 0),
        )
    ),
    ("/mix/route", ("bus1", "bus2", 0.5), "patches/4",
     {"source": "bus1", "destination": "bus2", "gain": 0.5}),
    ("/deck/A/send", (2, 0.5), "deck.A/sends", [0.0, 0.5]),
    ("/deck/A/send/pre", (1,), "deck.A/send_pre", [1, 0]),
    ("/deck/B/load", ("SONG",), "deck.B/track", "song"),
    ("/deck/A/unload", (), "deck.A/number", ...),
    ("/deck/D/play", (), "deck.D/state", "playing"),
    ("/deck/A/stop", (), "deck.A/buffer", 101),
    ("/deck/A/rate", (1.25,), "deck.A/rate", 1.25),
    ("/deck/A/gain", (0.5,), "deck.A/gain", 0.5),
    ("/deck/A/level", (0.5,), "deck.A/level", 0.5),
    ("/deck/A/stem", (2, 0.5), "deck.A/stems/1/gain", 0.5),
    ("/deck/A/stem/1", (0.5,), "deck.A/stems/0/gain", 0.5),
    ("/deck/A/eq/low", (0.5,), "deck.A/eq", [0.5, 1.0, 1.0]),
    ("/deck/A/eq/mid", (0.5,), "deck.A/kill", [0, 0, 0]),
    ("/deck/A/eq/high", (0.0,), "deck.A/eq", [1.0, 1.0, 0.0]),
    ("/deck/A/eq", (0.0, 0.0, 12.0), "deck.A/eq/2", pytest.approx(10 ** 0.6)),
    ("/deck/A/kill", ("low",), "deck.A/kill", [1, 1, 0]),
    ("/deck/A/trim", (-20.0,), "deck.A/trim", pytest.approx(0.1)),
    ("/deck/A/trim/auto", (1,), "deck.A/trim_auto", 1),
    ("/mix/autotrim", (1,), "deck.C/trim_auto", 1),
    ("/deck/A/filter", (-0.5,), "deck.A/filter", -0.5),
    ("/deck/A/filter/resonance", (0.5,), "deck.A/resonance", 0.5),
    ("/deck/A/crossfader", ("left",), "deck.A/crossfader", "left"),
    ("/deck/A/pfl", (0.5,), "deck.A/listen", 0.5),
    ("/deck/A/keylock", (1,), "deck.A/keylock", 1),
    ("/deck/A/pitch", (-3.0,), "deck.A/pitch", -3.0),
    ("/deck/A/stem/2/eq/high", (0.5,), "deck.A/stems/1/eq", [1.0, 1.0, 0.5]),
    ("/deck/A/stem/2/eq/low", (0.5,), "deck.A/stems/1/eq", [0.5, 1.0, 1.0]),
    ("/deck/A/stem/2/eq/mid", (0.5,), "deck.A/stems/1/eq", [1.0, 0.5, 1.0]),
    ("/deck/A/stem/2/eq", (-20.0, 0.0, 0.0), "deck.A/stems/1/eq/0", pytest.approx(0.1)),
    ("/deck/A/stem/2/filter", (0.5,), "deck.A/stems/1/filter", 0.5),
    ("/deck/A/stem/2/filter/resonance", (0.5,), "deck.A/stems/1/resonance", 0.5),
    ("/deck/A/stem/2/mute", (1,), "deck.A/stems/1/mute", 1),
    ("/deck/A/stem/2/solo", (1,), "deck.A/stems/1/solo", 1),
    ("/deck/A/stem/2/pfl", (0.5,), "deck.A/stems/1/listen", 0.5),
    ("/deck/A/stem/2/send", (2, 0.5), "deck.A/stems/1/sends", [0.0, 0.5]),
    ("/mix/level", (0.5,), "mixer/master_level", 0.5),
    ("/mix/crossfader", (0.25,), "mixer/crossfader", 0.25),
    ("/mix/crossfader/curve", ("cut",), "mixer/curve", "cut"),
    ("/mix/ceiling", (-20.0,), "mixer/ceiling", pytest.approx(0.1)),
    ("/mix/cue/level", (0.5,), "mixer/cue_level", 0.5),
    ("/load_buffer", (102, "SONG"), "buffers/102/track", "song"),
    ("/play_stem", (102, 0.5), "buffers/101/rate", ...),
    ("/play_stem", (101, 0.5), "buffers/101/rate", 0.5),
    ("/play_stem_section", (101, 0.75), "buffers/101/rate", 0.75),
    ("/stop_stem", (101,), "buffers/101/state", "ready"),
    ("/stem_volume", (101, 0.25), "buffers/101/gain", 0.25),
    ("/cue", ("B", "SONG"), "deck.B/state", "ready"),
    ("/play", ("B", "SONG"), "deck.B/state", "playing"),
    ("/start_group", ("D",), "deck.D/state", "playing"),
    ("/fade", ("A", 0.0, 0.5), "deck.A/level", 0.0),
    ("/crossfade_levels", (1.0, 0.5), "deck.B/level", 0.5),
    ("/deck_levels", (1.0, 1.0, 1.0, 0.5), "deck.D/level", 0.5),
    ("/deck_filter", ("A", "low", 0.5), "deck.A/eq/0", 0.5),
    ("/deck_eq", ("A", "low", 0.0), "deck.A/eq/0", 0.0),
    ("/deck_eq_all", ("A", 0.0, 50.0, 50.0), "deck.A/eq/0", 0.0),
    ("/mixer_cleanup", (), "buffers", {}),
    ("/quality", (2,), "quality", {"level": 2, "asked": "2"}),
    ("/dance/total_movement", (0.5,), "health/movement", 0.5),
]
# The effect of these is visible only in the desk or as an event: playhead, tone, waiting commands.
# Two that need several commands beforehand have their own tests.
ELSEWHERE = {
    "/deck/{deck}/jump", "/deck/{deck}/hotcue", "/clock/at", "/clock/next", "/test_tone",
    "/schedule_c_at", "/deck/{deck}/loop/out", "/deck/{deck}/loop/reloop", "/record/start",
    "/record/stop", "/buffer_size", "/cancel", "/cancel/number",
    "/dj/next", "/dj/skip", "/dj/hold", "/dj/energy", "/dj/queue", "/dj/ban", "/dj/release",
}  # fmt: skip
