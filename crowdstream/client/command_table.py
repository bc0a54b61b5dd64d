"""The commands of the server.

Generated from the server's command table by `python -P -m contrib.client_methods`; a test fails
when it is stale.
"""

# ruff: noqa: E501

from __future__ import annotations

from crowdstream.client.command_info import ArgInfo, CommandInfo, Ending

PLACES: dict[str, tuple[str, ...]] = {
    "deck": ("A", "B", "C", "D"),
    "bus": ("1", "2"),
    "sample": ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"),
    "input": ("1", "2"),
    "stem": ("1", "2", "3", "4", "5", "6", "7", "8"),
}
"""The values of each placeholder of an address."""

COMMANDS: tuple[CommandInfo, ...] = (
    CommandInfo(
        address="/clock/tempo",
        name="clock_tempo",
        args=(
            ArgInfo(
                name="bpm",
                type="f",
                help="tempo",
                unit="beats a minute",
                low=20,
                high=400,
                required=True,
            ),
            ArgInfo(
                name="beats",
                type="f",
                help="length of the tempo ramp; 0: 20 ms",
                unit="beats",
                low=0,
                high=4096,
                default=0.0,
            ),
        ),
        help=(
            "Ramp the clock's tempo linearly. Synced decks follow it to the sample. The others "
            "play at `bpm / base bpm` times their rate. A tempo at which a playing track cannot "
            "be played is refused."
        ),
        repeatable=True,
        scheduled=True,
        subject="clock",
    ),
    CommandInfo(
        address="/clock/meter",
        name="clock_meter",
        args=(
            ArgInfo(name="beats", type="i", help="beats per bar", low=1, high=32, required=True),
        ),
        help="Set the beats per bar.",
        repeatable=True,
        subject="clock",
    ),
    CommandInfo(
        address="/clock/reset",
        name="clock_reset",
        args=(),
        help="Set beat 0 and time zero to now, and discard all scheduled commands sent before it.",
        answers="`/cancelled <address> <count>` to the senders of the discarded commands",
        scheduled=True,
        subject="clock",
    ),
    CommandInfo(
        address="/clock/beat",
        name="clock_beat",
        args=(),
        help="Query the clock's position at the start of the next block.",
        answers=(
            "`/clock/beat.reply beat bar beat_in_bar phase bpm frame`; bars and their beats are "
            "counted from 1; phase is the position within the beat, 0 to 1"
        ),
        reply="/clock/beat.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="clock",
    ),
    CommandInfo(
        address="/clock/time",
        name="clock_time",
        args=(
            ArgInfo(name="id", type="i", help="any number", default=0),
        ),
        help=(
            "Query the server's time of day, to measure how far its clock differs from another "
            "one. With the times of request and reply, the difference is known to half of the "
            "round trip."
        ),
        answers=(
            "`/clock/time.reply id time frame`; `time` is the server's Unix time at the reply, "
            "and `frame` the frame on which a time tag of that time acts"
        ),
        reply="/clock/time.reply",
        ending=Ending.ECHO,
        repeatable=True,
        writes=False,
        subject="clock",
    ),
    CommandInfo(
        address="/clock/ticks",
        name="clock_ticks",
        args=(
            ArgInfo(
                name="per_beat",
                type="i",
                help="ticks per beat; 24: as in MIDI clock, 1: beats, 0: off",
                low=0,
                high=96,
                required=True,
            ),
        ),
        help="Send clock ticks to this subscriber. Requires a subscription with `/notify`.",
        answers=(
            "`/done <address>`, then `/clock/tick count beat frame time` for each tick, or with "
            "1 `/beat bar beat bpm frame time`, at the moment the tick sounds; `time` is the "
            "Unix time of that moment"
        ),
        ending=Ending.DONE,
        repeatable=True,
        writes=False,
        subject="clock",
    ),
    CommandInfo(
        address="/clock/at",
        name="clock_at",
        args=(
            ArgInfo(
                name="beat",
                type="f",
                help="beat of the clock",
                unit="beats",
                low=0,
                high=1000000000.0,
                required=True,
            ),
            ArgInfo(
                name="address",
                type="s",
                help="address of a command that can be scheduled",
                required=True,
            ),
            ArgInfo(name="arguments", type="*", help="the command's arguments", rest=True),
        ),
        help=(
            "Schedule another command at a beat of the clock, exact to the frame. If the tempo "
            "changes in the meantime, the command moves with its beat. If the beat has already "
            "passed, the command acts immediately and the sender receives `/late`."
        ),
        subject="clock",
    ),
    CommandInfo(
        address="/clock/next",
        name="clock_next",
        args=(
            ArgInfo(
                name="quantum",
                type="f",
                help="beats; or `beat`, `bar`, `phrase` (8 bars)",
                unit="beats",
                low=0.03125,
                high=1024,
                required=True,
                words=("beat", "bar", "phrase"),
            ),
            ArgInfo(
                name="address",
                type="s",
                help="address of a command that can be scheduled",
                required=True,
            ),
            ArgInfo(name="arguments", type="*", help="the command's arguments", rest=True),
        ),
        help="Schedule another command at the clock's next multiple of `quantum` beats.",
        subject="clock",
    ),
    CommandInfo(
        address="/clock/quantize",
        name="clock_quantize",
        args=(
            ArgInfo(
                name="beats",
                type="f",
                help="0.25 to 32 beats, or 0: immediately; or `bar`, or `phrase` (8 bars)",
                low=0.25,
                high=32.0,
                required=True,
                words=("beat", "bar", "phrase"),
                or_zero=True,
            ),
        ),
        help=(
            "Set the quantum of all decks and sample pads that have none of their own. Immediate "
            "commands to them wait for the clock's next multiple of it."
        ),
        repeatable=True,
        subject="clock",
    ),
    CommandInfo(
        address="/deck/{deck}/quantize",
        name="deck_quantize",
        args=(
            ArgInfo(
                name="beats",
                type="f",
                help="0.25 to 32 beats, or 0: immediately; or `bar`, or `phrase` (8 bars)",
                low=0.25,
                high=32.0,
                required=True,
                words=("beat", "bar", "phrase"),
                or_zero=True,
            ),
        ),
        help=(
            "Make the deck's starts, stops, jumps, cues and loops wait for the next multiple of "
            "`beats`. 0 uses the quantum of `/clock/quantize`. Commands with a time of their own "
            "do not wait."
        ),
        repeatable=True,
        subject="clock",
    ),
    CommandInfo(
        address="/deck/{deck}/load",
        name="deck_load",
        args=(
            ArgInfo(
                name="path",
                type="s",
                help=(
                    "audio file, or folder of up to 8 stems; `~` is your home folder, a relative "
                    "path starts at the folder in which the server was started"
                ),
                required=True,
            ),
            ArgInfo(
                name="start",
                type="f",
                help="cue point, as a fraction of the length",
                low=0,
                high=1,
                default=0.0,
            ),
        ),
        help="Load a track onto the deck. Its stems stay aligned to the sample.",
        answers="`/done <address> id` when the track can be played",
        ending=Ending.DONE,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/unload",
        name="deck_unload",
        args=(),
        help="Stop the deck's track and free its memory.",
        answers="`/done <address>` when its memory is free",
        ending=Ending.DONE,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/play",
        name="deck_play",
        args=(
            ArgInfo(
                name="start_at",
                type="f",
                help="seconds after the last /reset",
                unit="s",
                low=-1000000000.0,
                high=1000000000.0,
                default=0.0,
            ),
            ArgInfo(
                name="loop",
                type="i",
                help="1: loop the track",
                low=0,
                high=1,
                default=0,
                switch=True,
            ),
        ),
        help="Start the deck's track at its cue point.",
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stop",
        name="deck_stop",
        args=(),
        help="Stop the deck's track.",
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/seek",
        name="deck_seek",
        args=(
            ArgInfo(
                name="position",
                type="f",
                help="position in the file",
                unit="s",
                low=0,
                high=1000000.0,
                required=True,
            ),
        ),
        help=(
            "Jump to a position in the track. While the deck is stopped, this moves its cue "
            "point."
        ),
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/rate",
        name="deck_rate",
        args=(
            ArgInfo(name="rate", type="f", help="playback rate", low=0.25, high=4.0, required=True),
        ),
        help=(
            "Set the deck's playback rate, which changes tempo and pitch. The product of rate "
            "and relative tempo (`bpm / base bpm`) must be 0.25 to 4."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/gain",
        name="deck_gain",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
        ),
        help="Set the gain of the deck's track.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/level",
        name="deck_level",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the deck's level (post-EQ).",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem",
        name="deck_stem",
        args=(
            ArgInfo(
                name="number",
                type="i",
                help="stem, counted from 1",
                low=1,
                high=8,
                required=True,
            ),
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of one stem of the deck's track.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}",
        name="deck_stem",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of this stem of the deck's track.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/eq/low",
        name="deck_eq_low",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the low band of the deck's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/eq/mid",
        name="deck_eq_mid",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the mid band of the deck's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/eq/high",
        name="deck_eq_high",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the high band of the deck's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/keylock",
        name="deck_keylock",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help=(
            "Keep the pitch of the deck's present and future tracks constant when the tempo "
            "changes. In reverse, keylock has no effect: the pitch follows the speed."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/pitch",
        name="deck_pitch",
        args=(
            ArgInfo(
                name="semitones",
                type="f",
                help="upward pitch shift",
                unit="semitones",
                low=-12.0,
                high=12.0,
                required=True,
            ),
        ),
        help=(
            "Shift the pitch of the deck's present and future tracks without changing their "
            "tempo."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/mix/level",
        name="mix_level",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the master level (pre-limiter).",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/dj/next",
        name="dj_next",
        args=(),
        help=(
            "Make the DJ start the transition to the next track at the next phrase, once it is "
            "loaded."
        ),
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/skip",
        name="dj_skip",
        args=(),
        help="Make the DJ skip the track that is up next and select another one.",
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/hold",
        name="dj_hold",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: hold, 0: resume",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help="Make the DJ hold the playing track: its current phrase loops.",
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        repeatable=True,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/energy",
        name="dj_energy",
        args=(
            ArgInfo(
                name="energy",
                type="f",
                help="0: calm, 1: maximum; `auto`: from the plan and the crowd",
                low=0,
                high=1,
                required=True,
                words=("auto",),
            ),
        ),
        help=(
            "Set the energy of the tracks that the DJ selects next. A schedule leaves it alone "
            "until the next part of the opening begins, or until `auto`."
        ),
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        repeatable=True,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/hours",
        name="dj_hours",
        args=(
            ArgInfo(
                name="open",
                type="i",
                help="1: play; 0: play the current track to its end, then be silent",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help="Open or close. A closed DJ plays nothing until it is opened again.",
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        repeatable=True,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/folders",
        name="dj_folders",
        args=(
            ArgInfo(
                name="folders",
                type="s",
                help="play only tracks below these folders; none: all",
                rest=True,
            ),
        ),
        help="Restrict the DJ's selection to folders of its library, from the next track on.",
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        repeatable=True,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/tags",
        name="dj_tags",
        args=(
            ArgInfo(
                name="tags",
                type="s",
                help="play only tracks with one of these tags, in any case; none: all",
                rest=True,
            ),
        ),
        help=(
            "Restrict the DJ's selection to tracks with certain tags, from the next track on. A "
            "track's tags are its genres, its groupings, the words after a # in its comments, or "
            "those that a person has given it (`tags` in its sidecar or in the library). With "
            "`/dj/folders`, both apply."
        ),
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        repeatable=True,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/queue",
        name="dj_queue",
        args=(
            ArgInfo(
                name="path",
                type="s",
                help="a track of the DJ's library: its path, or the end of its path",
                required=True,
            ),
        ),
        help="Queue a track, which the DJ plays as soon as it can. Queued tracks keep their order.",
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/ban",
        name="dj_ban",
        args=(
            ArgInfo(
                name="path",
                type="s",
                help=(
                    "a track of the DJ's library: its path, or the end of its path; empty: the "
                    "playing track"
                ),
                default="",
            ),
        ),
        help=(
            "Ban a track from the DJ's selection. If it is playing, the DJ moves to the next "
            "track."
        ),
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/release",
        name="dj_release",
        args=(
            ArgInfo(
                name="what",
                type="s",
                help="a deck, tempo or all",
                default="all",
                choices=("A", "B", "C", "D", "tempo", "all"),
            ),
        ),
        help="Release a deck, the tempo or everything from manual control: the DJ takes it back.",
        answers="`/done <address>` when the DJ has accepted it; `/fail` if no DJ is connected",
        ending=Ending.DONE,
        repeatable=True,
        aliases=("/dj/give",),
        subject="dj",
    ),
    CommandInfo(
        address="/dj/status",
        name="dj_status",
        args=(),
        help="Query the state of the DJ.",
        answers=(
            "`/dj/status.reply there part parts text` for each part of a JSON text with the "
            "playing track, the next one and the reason for it; `there` is 1 while a DJ is "
            "connected"
        ),
        reply="/dj/status.reply",
        ending=Ending.PARTS,
        repeatable=True,
        writes=False,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/register",
        name="dj_register",
        args=(
            ArgInfo(
                name="what",
                type="s",
                help="begin: register, on: heartbeat, end: unregister",
                required=True,
                choices=("begin", "on", "end"),
            ),
        ),
        help=(
            "Register as the DJ, and send a heartbeat every second. A DJ that is silent for 8 s "
            "is considered disconnected."
        ),
        answers=(
            "`/done <address>`; then `/dj/do number word arguments ...` for each request to the "
            "DJ, and `/dj/replaced` when another DJ has registered"
        ),
        ending=Ending.DONE,
        repeatable=True,
        writes=False,
        aliases=("/dj/here",),
        subject="dj",
    ),
    CommandInfo(
        address="/dj/answer",
        name="dj_answer",
        args=(
            ArgInfo(name="number", type="i", help="number of the `/dj/do`", required=True),
            ArgInfo(
                name="reason",
                type="s",
                help="why it was not done; empty: it was done",
                default="",
            ),
        ),
        help="As the DJ, report that a request was carried out, or why it was not.",
        repeatable=True,
        writes=False,
        subject="dj",
    ),
    CommandInfo(
        address="/dj/state",
        name="dj_state",
        args=(
            ArgInfo(
                name="part",
                type="i",
                help="number of this part, counted from 1",
                low=1,
                high=64,
                required=True,
            ),
            ArgInfo(name="parts", type="i", help="number of parts", low=1, high=64, required=True),
            ArgInfo(name="text", type="s", help="part of a JSON object", required=True),
        ),
        help="As the DJ, publish one's state, which the web page shows.",
        repeatable=True,
        writes=False,
        subject="dj",
    ),
    CommandInfo(
        address="/fx/modules",
        name="fx_modules",
        args=(),
        help="List the effect modules and their parameters.",
        answers=(
            "for each module and parameter `/fx/modules.reply module parameter low high default "
            "unit help`, then `/done /fx/modules <number of modules>`"
        ),
        reply="/fx/modules.reply",
        ending=Ending.COUNT,
        repeatable=True,
        writes=False,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/insert",
        name="deck_fx_insert",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Insert an effect into an empty slot, with a crossfade.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/insert",
        name="bus_fx_insert",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Insert an effect into an empty slot, with a crossfade.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/insert",
        name="mix_fx_insert",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Insert an effect into an empty slot, with a crossfade.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/insert",
        name="input_fx_insert",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Insert an effect into an empty slot, with a crossfade.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/swap",
        name="deck_fx_swap",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Replace the effect in a slot with another one. The tail of the old effect rings out.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/swap",
        name="bus_fx_swap",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Replace the effect in a slot with another one. The tail of the old effect rings out.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/swap",
        name="mix_fx_swap",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Replace the effect in a slot with another one. The tail of the old effect rings out.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/swap",
        name="input_fx_swap",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="module", type="s", help="name of the module", required=True),
            ArgInfo(
                name="values",
                type="*",
                help="alternately names of parameters (also `mix` and `on`) and values",
                rest=True,
            ),
        ),
        help="Replace the effect in a slot with another one. The tail of the old effect rings out.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/remove",
        name="deck_fx_remove",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Remove the effect from a slot. Its tail rings out for up to 30 s.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/remove",
        name="bus_fx_remove",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Remove the effect from a slot. Its tail rings out for up to 30 s.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/remove",
        name="mix_fx_remove",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Remove the effect from a slot. Its tail rings out for up to 30 s.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/remove",
        name="input_fx_remove",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Remove the effect from a slot. Its tail rings out for up to 30 s.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/move",
        name="deck_fx_move",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="to",
                type="i",
                help="new slot; the effects in between move up",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Move an effect to another slot of its chain, with crossfades out and in.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/move",
        name="bus_fx_move",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="to",
                type="i",
                help="new slot; the effects in between move up",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Move an effect to another slot of its chain, with crossfades out and in.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/move",
        name="mix_fx_move",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="to",
                type="i",
                help="new slot; the effects in between move up",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Move an effect to another slot of its chain, with crossfades out and in.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/move",
        name="input_fx_move",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="to",
                type="i",
                help="new slot; the effects in between move up",
                low=1,
                high=4,
                required=True,
            ),
        ),
        help="Move an effect to another slot of its chain, with crossfades out and in.",
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/set",
        name="deck_fx_set",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="parameter",
                type="s",
                help="name of the parameter, see `/fx/modules`",
                required=True,
            ),
            ArgInfo(
                name="value",
                type="f",
                help="value, in the parameter's range and unit",
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time; -1: the parameter's own",
                unit="s",
                low=-1,
                high=3600,
                default=-1.0,
            ),
        ),
        help="Set a parameter of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/set",
        name="bus_fx_set",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="parameter",
                type="s",
                help="name of the parameter, see `/fx/modules`",
                required=True,
            ),
            ArgInfo(
                name="value",
                type="f",
                help="value, in the parameter's range and unit",
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time; -1: the parameter's own",
                unit="s",
                low=-1,
                high=3600,
                default=-1.0,
            ),
        ),
        help="Set a parameter of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/set",
        name="mix_fx_set",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="parameter",
                type="s",
                help="name of the parameter, see `/fx/modules`",
                required=True,
            ),
            ArgInfo(
                name="value",
                type="f",
                help="value, in the parameter's range and unit",
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time; -1: the parameter's own",
                unit="s",
                low=-1,
                high=3600,
                default=-1.0,
            ),
        ),
        help="Set a parameter of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/set",
        name="input_fx_set",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="parameter",
                type="s",
                help="name of the parameter, see `/fx/modules`",
                required=True,
            ),
            ArgInfo(
                name="value",
                type="f",
                help="value, in the parameter's range and unit",
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time; -1: the parameter's own",
                unit="s",
                low=-1,
                high=3600,
                default=-1.0,
            ),
        ),
        help="Set a parameter of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/mix",
        name="deck_fx_mix",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="mix", type="f", help="0: dry, 1: wet", low=0, high=1, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the dry/wet mix of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/mix",
        name="bus_fx_mix",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="mix", type="f", help="0: dry, 1: wet", low=0, high=1, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the dry/wet mix of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/mix",
        name="mix_fx_mix",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="mix", type="f", help="0: dry, 1: wet", low=0, high=1, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the dry/wet mix of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/mix",
        name="input_fx_mix",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(name="mix", type="f", help="0: dry, 1: wet", low=0, high=1, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the dry/wet mix of an effect.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/on",
        name="deck_fx_on",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Switch an effect on or off. Off passes the input through bit for bit; the tail "
            "rings out."
        ),
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/on",
        name="bus_fx_on",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Switch an effect on or off. Off passes the input through bit for bit; the tail "
            "rings out."
        ),
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/on",
        name="mix_fx_on",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Switch an effect on or off. Off passes the input through bit for bit; the tail "
            "rings out."
        ),
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/on",
        name="input_fx_on",
        args=(
            ArgInfo(
                name="slot",
                type="i",
                help="slot in the chain, counted from 1",
                low=1,
                high=4,
                required=True,
            ),
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Switch an effect on or off. Off passes the input through bit for bit; the tail "
            "rings out."
        ),
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/fx/list",
        name="deck_fx_list",
        args=(),
        help="List the effects in a chain.",
        answers=(
            "for each slot in use `<address>.reply slot module`, followed by alternating names "
            "and values; then `/done <address> <slots in use>`"
        ),
        reply="<address>.reply",
        ending=Ending.COUNT,
        repeatable=True,
        writes=False,
        subject="effects",
    ),
    CommandInfo(
        address="/bus/{bus}/fx/list",
        name="bus_fx_list",
        args=(),
        help="List the effects in a chain.",
        answers=(
            "for each slot in use `<address>.reply slot module`, followed by alternating names "
            "and values; then `/done <address> <slots in use>`"
        ),
        reply="<address>.reply",
        ending=Ending.COUNT,
        repeatable=True,
        writes=False,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/fx/list",
        name="mix_fx_list",
        args=(),
        help="List the effects in a chain.",
        answers=(
            "for each slot in use `<address>.reply slot module`, followed by alternating names "
            "and values; then `/done <address> <slots in use>`"
        ),
        reply="<address>.reply",
        ending=Ending.COUNT,
        repeatable=True,
        writes=False,
        subject="effects",
    ),
    CommandInfo(
        address="/input/{input}/fx/list",
        name="input_fx_list",
        args=(),
        help="List the effects in a chain.",
        answers=(
            "for each slot in use `<address>.reply slot module`, followed by alternating names "
            "and values; then `/done <address> <slots in use>`"
        ),
        reply="<address>.reply",
        ending=Ending.COUNT,
        repeatable=True,
        writes=False,
        subject="effects",
    ),
    CommandInfo(
        address="/mix/route",
        name="mix_route",
        args=(
            ArgInfo(
                name="source",
                type="s",
                help="deck or bus",
                required=True,
                choices=("A", "B", "C", "D", "bus1", "bus2"),
            ),
            ArgInfo(
                name="destination",
                type="s",
                help="bus or master",
                required=True,
                choices=("bus1", "bus2", "master"),
            ),
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Set the gain with which a deck or bus feeds a bus or the master. By default decks "
            "and buses feed only the master, at gain 1. A route that would make buses feed each "
            "other in a loop is refused."
        ),
        repeatable=True,
        scheduled=True,
        aliases=("/mix/patch",),
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/send",
        name="deck_send",
        args=(
            ArgInfo(name="bus", type="i", help="send bus", low=1, high=2, required=True),
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain with which the deck feeds a send bus; the same as `/mix/route`.",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/send/pre",
        name="deck_send_pre",
        args=(
            ArgInfo(name="bus", type="i", help="send bus", low=1, high=2, required=True),
            ArgInfo(
                name="on",
                type="i",
                help="1: pre-fader, before deck level and crossfader; 0: post-fader",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Switch the deck's send to a bus between pre-fader and post-fader (the default).",
        repeatable=True,
        scheduled=True,
        subject="effects",
    ),
    CommandInfo(
        address="/deck/{deck}/grid",
        name="deck_grid",
        args=(
            ArgInfo(
                name="bpm",
                type="f",
                help="tempo of the track",
                unit="beats a minute",
                low=20.0,
                high=400.0,
                required=True,
            ),
            ArgInfo(
                name="first_downbeat",
                type="f",
                help="position of the first downbeat",
                unit="s",
                low=0,
                high=1000000.0,
                default=0.0,
            ),
        ),
        help=(
            "Give the deck's track a beat grid of constant tempo, in place of the grid from its "
            "file."
        ),
        repeatable=True,
        subject="grids-and-sync",
    ),
    CommandInfo(
        address="/deck/{deck}/grid/point",
        name="deck_grid_point",
        args=(
            ArgInfo(
                name="beat",
                type="f",
                help="beat of the track; 0 is a downbeat",
                unit="beats",
                low=-1000000.0,
                high=1000000.0,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="position of the beat in the file",
                unit="s",
                low=0,
                high=1000000.0,
                required=True,
            ),
        ),
        help=(
            "Place a beat of the deck's track; the grid then passes through this point as well. "
            "With a grid of constant tempo, the first point sets the tempo by its distance from "
            "the downbeat. A point for the downbeat itself moves the downbeat."
        ),
        repeatable=True,
        subject="grids-and-sync",
    ),
    CommandInfo(
        address="/deck/{deck}/grid/points",
        name="deck_grid_points",
        args=(
            ArgInfo(
                name="pairs",
                type="f",
                help="alternately beat and second, at least two pairs",
                low=-1000000.0,
                high=1000000.0,
                required=True,
                rest=True,
            ),
        ),
        help="Give the deck's track a beat grid of varying tempo, linear between these points.",
        repeatable=True,
        subject="grids-and-sync",
    ),
    CommandInfo(
        address="/deck/{deck}/grid/confidence",
        name="deck_grid_confidence",
        args=(
            ArgInfo(
                name="confidence",
                type="f",
                help="confidence; below 0.6 the grid is shown as uncertain",
                low=0,
                high=1,
                required=True,
            ),
        ),
        help="Set the confidence of the beat grid of the deck's track. The beats do not move.",
        repeatable=True,
        subject="grids-and-sync",
    ),
    CommandInfo(
        address="/deck/{deck}/grid/clear",
        name="deck_grid_clear",
        args=(),
        help="Remove the beat grid of the deck's track. Sync ends.",
        subject="grids-and-sync",
    ),
    CommandInfo(
        address="/deck/{deck}/sync",
        name="deck_sync",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
            ArgInfo(
                name="quantum",
                type="f",
                help=(
                    "alignment of the track's beats with the clock's, modulo this number; 1: "
                    "beats, 4: bars of 4 beats"
                ),
                unit="beats",
                low=0.25,
                high=64,
                default=1.0,
            ),
        ),
        help=(
            "Derive the playhead of the deck's track from the clock, through its beat grid. The "
            "track's beats then coincide with the clock's to the frame, also during tempo ramps, "
            "loops and jumps. If half or double the track's tempo is nearer to the clock's, that "
            "is used."
        ),
        repeatable=True,
        scheduled=True,
        subject="grids-and-sync",
    ),
    CommandInfo(
        address="/deck/{deck}/sync/ratio",
        name="deck_sync_ratio",
        args=(
            ArgInfo(
                name="ratio",
                type="f",
                help="0.5: half, 2: double tempo; 0: the nearest to the track's own",
                low=0.25,
                high=4,
                required=True,
                or_zero=True,
            ),
        ),
        help="Set the number of its own beats that a synced track plays per beat of the clock.",
        repeatable=True,
        scheduled=True,
        subject="grids-and-sync",
    ),
    CommandInfo(
        address="/mix/crossfader",
        name="mix_crossfader",
        args=(
            ArgInfo(
                name="position",
                type="f",
                help="0: left side only, 1: right side only",
                low=0,
                high=1,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Move the crossfader. Slow moves follow its curve. Decks assigned `through` are "
            "unaffected."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/mix/crossfader/curve",
        name="mix_crossfader_curve",
        args=(
            ArgInfo(
                name="name",
                type="s",
                help=(
                    "`additive`: both sides full in the middle; `constant-power`: the same power "
                    "throughout; `cut`: both sides full except at the ends"
                ),
                required=True,
                choices=("additive", "constant-power", "cut"),
            ),
        ),
        help="Choose the crossfader curve. The default is `constant-power`.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/crossfader",
        name="deck_crossfader",
        args=(
            ArgInfo(
                name="side",
                type="s",
                help="side of the crossfader",
                required=True,
                choices=("left", "right", "through"),
            ),
        ),
        help="Assign the deck to a side of the crossfader, or to neither (`through`, the default).",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/eq",
        name="deck_eq_db",
        args=(
            ArgInfo(
                name="low",
                type="f",
                help="gain of the low band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="mid",
                type="f",
                help="gain of the mid band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="high",
                type="f",
                help="gain of the high band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Set the three bands of the deck's EQ in dB. `/deck/{deck}/kill` silences a band "
            "entirely."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/kill",
        name="deck_kill",
        args=(
            ArgInfo(
                name="band",
                type="s",
                help="EQ band",
                required=True,
                choices=("low", "mid", "high"),
            ),
            ArgInfo(
                name="on",
                type="i",
                help="1: silence the band, 0: restore it",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help=(
            "Silence a band of the deck's EQ, or restore its previous gain. A gain that is set "
            "while the band is killed takes effect at once, and is kept."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/trim",
        name="deck_trim",
        args=(
            ArgInfo(
                name="decibels",
                type="f",
                help="gain before the EQ",
                unit="dB",
                low=-24,
                high=24,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Set the gain with which the deck enters the mixer (pre-EQ). This switches automatic "
            "trim off for the deck."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/filter",
        name="deck_filter_knob",
        args=(
            ArgInfo(
                name="knob",
                type="f",
                help="-1: low-pass closed, 0: off, 1: high-pass closed",
                low=-1,
                high=1,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Turn the deck's filter: low-pass to the left, high-pass to the right, off in the "
            "middle. The shortest ramp is 20 ms."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/filter/resonance",
        name="deck_filter_resonance",
        args=(
            ArgInfo(
                name="amount",
                type="f",
                help="0: no peak at the cutoff, 1: one of 18 dB",
                low=0,
                high=1,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the resonance of the deck's filter at its cutoff. The default is 0.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/mix/ceiling",
        name="mix_ceiling",
        args=(
            ArgInfo(
                name="decibels",
                type="f",
                help="true peak, below full scale",
                unit="dBTP",
                low=-24,
                high=0,
                required=True,
            ),
        ),
        help="Set the limiter's true-peak ceiling, as `--limiter-ceiling` does.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/pfl",
        name="deck_pfl",
        args=(
            ArgInfo(
                name="gain",
                type="f",
                help="linear gain on the cue bus; 0: off",
                low=0,
                high=4.0,
                default=1.0,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Send the deck to the cue bus: pre-fader listening (PFL), after the deck's effects.",
        scheduled=True,
        aliases=("/deck/{deck}/listen",),
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/mix/cue/level",
        name="mix_cue_level",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the level of the cue bus.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/trim/auto",
        name="deck_trim_auto",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: automatic, 0: keep the present trim",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help=(
            "Trim the deck automatically so that its tracks have the loudness of "
            "`--target-lufs`. A track is measured once all of it is in memory (EBU R128, all "
            "stems at full gain). Of a streamed track, the part played so far is measured. The "
            "default is off."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/mix/autotrim",
        name="mix_autotrim",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: automatic, 0: keep the present trim",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help=(
            "Trim all decks automatically, so that their tracks have the same loudness. The "
            "default is off: for sequencers that do not know this command, tracks keep the level "
            "at which they were mastered."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/meters",
        name="meters",
        args=(
            ArgInfo(
                name="rate",
                type="f",
                help="times a second, 1 to 60; 0: end the subscription",
                low=1,
                high=60,
                required=True,
                or_zero=True,
            ),
            ArgInfo(
                name="what",
                type="s",
                help="`mix`: decks, inputs, master and cue; `all`: all stems as well",
                default="mix",
                choices=("mix", "all"),
            ),
        ),
        help="Subscribe to the meters of decks and inputs (pre-fader), the master and the cue bus.",
        answers=(
            "`/done /meters`, then `/meter name peak rms lufs` at this rate, see *Meters* in the "
            "introduction"
        ),
        ending=Ending.DONE,
        repeatable=True,
        writes=False,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/sample/{sample}/load",
        name="sample_load",
        args=(
            ArgInfo(
                name="path",
                type="s",
                help=(
                    "audio file, or folder of up to 8 stems; `~` is your home folder, a relative "
                    "path starts at the folder in which the server was started"
                ),
                required=True,
            ),
        ),
        help="Load a sample of up to 2 minutes onto the pad. All of it stays in memory.",
        answers="`/done <address> id` when all of the sample is in memory",
        ending=Ending.DONE,
        subject="samples",
    ),
    CommandInfo(
        address="/sample/{sample}/unload",
        name="sample_unload",
        args=(),
        help="Stop the pad and free its memory. Its settings stay.",
        answers="`/done <address>` when its memory is free",
        ending=Ending.DONE,
        subject="samples",
    ),
    CommandInfo(
        address="/sample/{sample}/play",
        name="sample_play",
        args=(),
        help=(
            "Play the sample from its beginning, at its own speed. Pads overlap; a pad that is "
            "already playing starts again."
        ),
        scheduled=True,
        subject="samples",
    ),
    CommandInfo(
        address="/sample/{sample}/stop",
        name="sample_stop",
        args=(),
        help="Fade the pad out.",
        scheduled=True,
        subject="samples",
    ),
    CommandInfo(
        address="/sample/{sample}/level",
        name="sample_level",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the pad's level.",
        repeatable=True,
        scheduled=True,
        subject="samples",
    ),
    CommandInfo(
        address="/sample/{sample}/loop",
        name="sample_loop",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: loop the sample; 0: play it once",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help="Loop the pad's sample, now and whenever it is played.",
        repeatable=True,
        scheduled=True,
        subject="samples",
    ),
    CommandInfo(
        address="/sample/{sample}/quantize",
        name="sample_quantize",
        args=(
            ArgInfo(
                name="beats",
                type="f",
                help="0.25 to 32 beats, or 0: immediately; or `bar`, or `phrase` (8 bars)",
                low=0.25,
                high=32.0,
                required=True,
                words=("beat", "bar", "phrase"),
                or_zero=True,
            ),
        ),
        help=(
            "Make the pad's starts wait for the next multiple of `beats` of the clock. 0 uses "
            "the quantum of `/clock/quantize`. Commands with a time of their own do not wait."
        ),
        subject="samples",
    ),
    CommandInfo(
        address="/sample/{sample}/output",
        name="sample_output",
        args=(
            ArgInfo(
                name="output",
                type="s",
                help="where the pad is heard",
                required=True,
                choices=("master", "cue", "both"),
            ),
        ),
        help="Route the pad to the master, to the cue bus, or to both.",
        repeatable=True,
        scheduled=True,
        subject="samples",
    ),
    CommandInfo(
        address="/mix/samples",
        name="mix_samples",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the level of all sample pads in the master.",
        repeatable=True,
        scheduled=True,
        subject="samples",
    ),
    CommandInfo(
        address="/mix/announcements",
        name="mix_announcements",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the level of announcements in the master.",
        repeatable=True,
        scheduled=True,
        subject="samples",
    ),
    CommandInfo(
        address="/announce",
        name="announce",
        args=(
            ArgInfo(
                name="path",
                type="s",
                help="audio file of up to 10 minutes; otherwise as for `/deck/{deck}/load`",
                required=True,
            ),
            ArgInfo(
                name="depth",
                type="f",
                help="attenuation of everything else",
                unit="dB",
                low=0,
                high=60.0,
                default=14.0,
            ),
            ArgInfo(
                name="attack",
                type="f",
                help="time in which the mix falls",
                unit="s",
                low=0,
                high=30,
                default=0.4,
            ),
            ArgInfo(
                name="hold",
                type="f",
                help="from the end of the announcement until the mix rises",
                unit="s",
                low=0,
                high=30,
                default=0.3,
            ),
            ArgInfo(
                name="release",
                type="f",
                help="time in which the mix rises",
                unit="s",
                low=0,
                high=30,
                default=1.2,
            ),
            ArgInfo(
                name="ahead",
                type="f",
                help="from the beginning of the attack to that of the announcement",
                unit="s",
                low=0,
                high=30,
                default=0.5,
            ),
        ),
        help=(
            "Play a file over the ducked mix, after the announcements that are already in the "
            "queue. Subscribers of `/notify` receive `/announcement` with the states waiting, "
            "playing, and ended, failed or cancelled."
        ),
        answers="`/done /announce id` when it is loaded; then events `/announcement id state name`",
        ending=Ending.DONE,
        subject="samples",
    ),
    CommandInfo(
        address="/announce/skip",
        name="announce_skip",
        args=(),
        help="Fade the current announcement out. The next one follows.",
        subject="samples",
    ),
    CommandInfo(
        address="/announce/clear",
        name="announce_clear",
        args=(),
        help="Fade the current announcement out, and remove all others from the queue.",
        subject="samples",
    ),
    CommandInfo(
        address="/input/{input}/gain",
        name="input_gain",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=16.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain with which the input enters the mixer (pre-EQ).",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/eq",
        name="input_eq",
        args=(
            ArgInfo(
                name="low",
                type="f",
                help="gain of the low band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="mid",
                type="f",
                help="gain of the mid band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="high",
                type="f",
                help="gain of the high band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the three bands of the input's EQ in dB.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/eq/low",
        name="input_eq_low",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the low band of the input's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/eq/mid",
        name="input_eq_mid",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the mid band of the input's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/eq/high",
        name="input_eq_high",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the high band of the input's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/kill",
        name="input_kill",
        args=(
            ArgInfo(
                name="band",
                type="s",
                help="EQ band",
                required=True,
                choices=("low", "mid", "high"),
            ),
            ArgInfo(
                name="on",
                type="i",
                help="1: silence the band, 0: restore it",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help="Silence a band of the input's EQ, or restore its previous gain.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/filter",
        name="input_filter",
        args=(
            ArgInfo(
                name="knob",
                type="f",
                help="-1: low-pass closed, 0: off, 1: high-pass closed",
                low=-1,
                high=1,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Turn the input's filter: low-pass to the left, high-pass to the right, off in the "
            "middle. The shortest ramp is 20 ms."
        ),
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/filter/resonance",
        name="input_filter_resonance",
        args=(
            ArgInfo(
                name="amount",
                type="f",
                help="0: no peak at the cutoff, 1: one of 18 dB",
                low=0,
                high=1,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the resonance of the input's filter at its cutoff. The default is 0.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/level",
        name="input_level",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the input's level (post-EQ).",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/mute",
        name="input_mute",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: mute the input, 0: open it",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help=(
            "Mute the input in the master, or open it, also after it was muted because of "
            "feedback."
        ),
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/pfl",
        name="input_pfl",
        args=(
            ArgInfo(
                name="gain",
                type="f",
                help="linear gain on the cue bus; 0: off",
                low=0,
                high=4.0,
                default=1.0,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Send the input to the cue bus: pre-fader listening (PFL), after the input's effects.",
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/guard",
        name="input_guard",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: mute the input when it carries the output, 0: never",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help=(
            "Choose whether the input is muted when it carries the server's own output. The "
            "default is on. An input that was muted in this way stays muted until "
            "`/input/{input}/mute 0`."
        ),
        repeatable=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/talkover",
        name="input_talkover",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help=(
            "Duck decks and samples while the input, after its level, is loud enough. The "
            "default is off. Together with an announcement, the deeper attenuation applies."
        ),
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/talkover/threshold",
        name="input_talkover_threshold",
        args=(
            ArgInfo(
                name="decibels",
                type="f",
                help="peak level",
                unit="dBFS",
                low=-80,
                high=0,
                required=True,
            ),
        ),
        help="Set the level of the input from which the music is ducked. The default is -36 dBFS.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/talkover/hysteresis",
        name="input_talkover_hysteresis",
        args=(
            ArgInfo(
                name="decibels",
                type="f",
                help="below the threshold",
                unit="dB",
                low=0,
                high=40,
                required=True,
            ),
        ),
        help=(
            "Set how far the input must fall below the threshold before the music rises again. "
            "The default is 6 dB."
        ),
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/talkover/depth",
        name="input_talkover_depth",
        args=(
            ArgInfo(
                name="decibels",
                type="f",
                help="attenuation of the music",
                unit="dB",
                low=0,
                high=60.0,
                required=True,
            ),
        ),
        help="Set the attenuation of decks and samples during talkover. The default is 14 dB.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/talkover/attack",
        name="input_talkover_attack",
        args=(
            ArgInfo(
                name="seconds",
                type="f",
                help="time in which the music falls",
                unit="s",
                low=0,
                high=30,
                required=True,
            ),
        ),
        help="Set the attack time of the talkover. The default is 0.1 s.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/talkover/hold",
        name="input_talkover_hold",
        args=(
            ArgInfo(
                name="seconds",
                type="f",
                help="silence of the input until the music rises",
                unit="s",
                low=0,
                high=30,
                required=True,
            ),
        ),
        help="Set the hold time of the talkover. The default is 0.8 s.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/input/{input}/talkover/release",
        name="input_talkover_release",
        args=(
            ArgInfo(
                name="seconds",
                type="f",
                help="time in which the music rises",
                unit="s",
                low=0,
                high=30,
                required=True,
            ),
        ),
        help="Set the release time of the talkover. The default is 1.2 s.",
        repeatable=True,
        scheduled=True,
        subject="inputs",
    ),
    CommandInfo(
        address="/load_buffer",
        name="load_buffer",
        args=(
            ArgInfo(
                name="id",
                type="i",
                help="buffer: 100-1099 deck A, 1100-2099 B, 2100-3099 C, 3100-4099 D",
                low=100,
                high=4099,
                required=True,
            ),
            ArgInfo(
                name="path",
                type="s",
                help=(
                    "audio file, or folder of up to 8 stems; `~` is your home folder, a relative "
                    "path starts at the folder in which the server was started"
                ),
                required=True,
            ),
            ArgInfo(
                name="name",
                type="s",
                help="name to show; default: the file's name",
                default="",
            ),
        ),
        help="Load a file into a buffer. A track already in the buffer is stopped and replaced.",
        answers="`/done /load_buffer id` when the buffer can be played",
        ending=Ending.DONE,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/play_stem",
        name="play_stem",
        args=(
            ArgInfo(
                name="id",
                type="i",
                help="buffer: 100-1099 deck A, 1100-2099 B, 2100-3099 C, 3100-4099 D",
                low=100,
                high=4099,
                required=True,
            ),
            ArgInfo(name="rate", type="f", help="playback rate", low=0.25, high=4.0, default=1.0),
            ArgInfo(name="volume", type="f", help="linear gain", low=0, high=4.0, default=0.8),
            ArgInfo(name="loop", type="i", help="1: loop", low=0, high=1, default=1, switch=True),
            ArgInfo(
                name="start",
                type="f",
                help="start position, as a fraction of the length",
                low=0,
                high=1,
                default=0.0,
            ),
        ),
        help="Play a buffer from a fraction of its length. A buffer that is playing is restarted.",
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/play_stem_section",
        name="play_stem_section",
        args=(
            ArgInfo(
                name="id",
                type="i",
                help="buffer: 100-1099 deck A, 1100-2099 B, 2100-3099 C, 3100-4099 D",
                low=100,
                high=4099,
                required=True,
            ),
            ArgInfo(name="rate", type="f", help="playback rate", low=0.25, high=4.0, default=1.0),
            ArgInfo(name="volume", type="f", help="linear gain", low=0, high=4.0, default=0.8),
            ArgInfo(name="loop", type="i", help="1: loop", low=0, high=1, default=1, switch=True),
            ArgInfo(
                name="start",
                type="f",
                help="start position, as a fraction of the length",
                low=0,
                high=1,
                default=0.0,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="length of the section, in the file's time",
                unit="s",
                low=0.001,
                high=1000000.0,
                default=4.0,
            ),
        ),
        help="Play a section of a buffer; with loop 1 the section loops.",
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/stop_stem",
        name="stop_stem",
        args=(
            ArgInfo(
                name="id",
                type="i",
                help="buffer: 100-1099 deck A, 1100-2099 B, 2100-3099 C, 3100-4099 D",
                low=100,
                high=4099,
                required=True,
            ),
        ),
        help="Stop a buffer.",
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/stem_volume",
        name="stem_volume",
        args=(
            ArgInfo(
                name="id",
                type="i",
                help="buffer: 100-1099 deck A, 1100-2099 B, 2100-3099 C, 3100-4099 D",
                low=100,
                high=4099,
                required=True,
            ),
            ArgInfo(name="volume", type="f", help="linear gain", low=0, high=4.0, required=True),
        ),
        help="Set the gain of a buffer.",
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/cue",
        name="cue",
        args=(
            ArgInfo(
                name="deck",
                type="s",
                help="deck",
                required=True,
                choices=("A", "B", "C", "D"),
            ),
            ArgInfo(
                name="path",
                type="s",
                help=(
                    "audio file, or folder of up to 8 stems; `~` is your home folder, a relative "
                    "path starts at the folder in which the server was started"
                ),
                required=True,
            ),
            ArgInfo(
                name="start",
                type="f",
                help="cue point, as a fraction of the length",
                low=0,
                high=1,
                default=0.0,
            ),
        ),
        help=(
            "Load and arm the deck's first buffer (100 of deck A, 1100 of B, 2100 of C, 3100 of "
            "D). This does not start it."
        ),
        answers="`/done /cue id` when the track can be started",
        ending=Ending.DONE,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/start_group",
        name="start_group",
        args=(
            ArgInfo(
                name="start_at",
                type="f",
                help="seconds after the last /reset",
                unit="s",
                low=-1000000000.0,
                high=1000000000.0,
                default=0.0,
            ),
            ArgInfo(
                name="decks",
                type="s",
                help="deck",
                required=True,
                choices=("A", "B", "C", "D"),
                rest=True,
            ),
        ),
        help="Start armed decks together, on the same frame. The number may also come last.",
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/play",
        name="play",
        args=(
            ArgInfo(
                name="deck",
                type="s",
                help="deck",
                required=True,
                choices=("A", "B", "C", "D"),
            ),
            ArgInfo(
                name="path",
                type="s",
                help=(
                    "audio file, or folder of up to 8 stems; `~` is your home folder, a relative "
                    "path starts at the folder in which the server was started"
                ),
                required=True,
            ),
            ArgInfo(
                name="start_at",
                type="f",
                help="seconds after the last /reset",
                unit="s",
                low=-1000000000.0,
                high=1000000000.0,
                default=0.0,
            ),
        ),
        help="Load a file into the deck's first buffer, then start it at that time.",
        answers="`/done /play id` when the file is loaded",
        ending=Ending.DONE,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/fade",
        name="fade",
        args=(
            ArgInfo(
                name="deck",
                type="s",
                help="deck",
                required=True,
                choices=("A", "B", "C", "D"),
            ),
            ArgInfo(
                name="start_at",
                type="f",
                help="seconds after the last /reset",
                unit="s",
                low=-1000000000.0,
                high=1000000000.0,
                default=0.0,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="length of the fade",
                unit="s",
                low=0,
                high=3600.0,
                default=2.0,
            ),
        ),
        help="Ramp the deck's level to 0 from its value at that time.",
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/crossfade_levels",
        name="crossfade_levels",
        args=(
            ArgInfo(name="a", type="f", help="linear level", low=0, high=4.0, required=True),
            ArgInfo(name="b", type="f", help="linear level", low=0, high=4.0, required=True),
        ),
        help="Set the levels of decks A and B.",
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/deck_levels",
        name="deck_levels",
        args=(
            ArgInfo(name="a", type="f", help="linear level", low=0, high=4.0, required=True),
            ArgInfo(name="b", type="f", help="linear level", low=0, high=4.0),
            ArgInfo(name="c", type="f", help="linear level", low=0, high=4.0),
            ArgInfo(name="d", type="f", help="linear level", low=0, high=4.0),
        ),
        help="Set the levels of all decks. Levels that are left out stay unchanged.",
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/deck_filter",
        name="deck_filter",
        args=(
            ArgInfo(
                name="deck",
                type="s",
                help="deck",
                required=True,
                choices=("A", "B", "C", "D"),
            ),
            ArgInfo(
                name="band",
                type="s",
                help="EQ band",
                required=True,
                choices=("low", "mid", "high"),
            ),
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
        ),
        help="Set the gain of a band of a deck's EQ.",
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/deck_eq",
        name="deck_eq",
        args=(
            ArgInfo(
                name="deck",
                type="s",
                help="deck",
                required=True,
                choices=("A", "B", "C", "D"),
            ),
            ArgInfo(
                name="band",
                type="s",
                help="EQ band",
                required=True,
                choices=("low", "mid", "high"),
            ),
            ArgInfo(
                name="percent",
                type="f",
                help="50 and above: flat, 0: killed",
                unit="percent",
                low=0,
                high=100,
                required=True,
            ),
        ),
        help=(
            "Set a band of a deck's EQ in percent. From 0 to 50 it is linear in dB, from -24 to "
            "0 dB."
        ),
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/deck_eq_all",
        name="deck_eq_all",
        args=(
            ArgInfo(
                name="deck",
                type="s",
                help="deck",
                required=True,
                choices=("A", "B", "C", "D"),
            ),
            ArgInfo(
                name="low",
                type="f",
                help="50 and above: flat, 0: killed",
                unit="percent",
                low=0,
                high=100,
                required=True,
            ),
            ArgInfo(
                name="mid",
                type="f",
                help="50 and above: flat, 0: killed",
                unit="percent",
                low=0,
                high=100,
                required=True,
            ),
            ArgInfo(
                name="high",
                type="f",
                help="50 and above: flat, 0: killed",
                unit="percent",
                low=0,
                high=100,
                required=True,
            ),
        ),
        help="Set all three bands of a deck's EQ in percent.",
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/set_tempo",
        name="set_tempo",
        args=(
            ArgInfo(
                name="bpm",
                type="f",
                help="tempo",
                unit="beats a minute",
                low=20,
                high=400,
                required=True,
            ),
        ),
        help=(
            "Set the tempo of the clock. All decks play at `bpm / base bpm` times their rate. "
            "Refused unless this factor, and the resulting speed of each playing track, is 0.25 "
            "to 4."
        ),
        repeatable=True,
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/set_meter",
        name="set_meter",
        args=(
            ArgInfo(name="beats", type="i", help="beats per bar", low=1, high=32, required=True),
        ),
        help="Set the beats per bar.",
        repeatable=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/print_clock",
        name="print_clock",
        args=(
            ArgInfo(name="on", type="i", help="1: print", low=0, high=1, default=1, switch=True),
        ),
        help="Print bar, beat and phase on each beat, starting with the next one.",
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/reset",
        name="reset",
        args=(),
        help=(
            "Set time zero to now and restart the beat clock. Discard all commands scheduled "
            "before."
        ),
        answers="`/cancelled <address> <count>` to the senders of the discarded commands",
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/schedule_c_at",
        name="schedule_c_at",
        args=(
            ArgInfo(
                name="start_at",
                type="f",
                help="seconds after the last /reset",
                unit="s",
                low=-1000000000.0,
                high=1000000000.0,
                default=0.0,
            ),
        ),
        help="Start the cued or loaded track of deck C at that time.",
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/get_status",
        name="get_status",
        args=(),
        help="Print the status and reply with it.",
        answers="`/status.reply`, as `/status` does",
        reply="/status.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/test_tone",
        name="test_tone",
        args=(
            ArgInfo(
                name="hertz",
                type="f",
                help="frequency",
                unit="Hz",
                low=20,
                high=20000,
                default=440.0,
            ),
        ),
        help="Play a quiet tone of one second on the master.",
        scheduled=True,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/mixer_cleanup",
        name="mixer_cleanup",
        args=(),
        help=(
            "Stop everything, free the decks' buffers and discard all commands scheduled before. "
            "Sample pads keep their samples."
        ),
        answers=(
            "`/done /mixer_cleanup` when the memory is free, and `/cancelled <address> <count>` "
            "to the senders of the discarded commands"
        ),
        ending=Ending.DONE,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/dance/total_movement",
        name="dance_total_movement",
        args=(
            ArgInfo(
                name="movement",
                type="f",
                help="movement of the crowd",
                low=0,
                high=1,
                required=True,
            ),
        ),
        help="Report the crowd's movement. With a movement map, it drives the tempo.",
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/dance/person_count",
        name="dance_person_count",
        args=(
            ArgInfo(name="value", type="f", help="number of people", default=0.0),
        ),
        help=(
            "Report another reading of the movement detector. It is used only if the movement "
            "map names it in `senders`."
        ),
        repeatable=True,
        writes=False,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/dance/legs_movement",
        name="dance_legs_movement",
        args=(
            ArgInfo(name="value", type="f", help="movement of legs", default=0.0),
        ),
        help=(
            "Report another reading of the movement detector. It is used only if the movement "
            "map names it in `senders`."
        ),
        repeatable=True,
        writes=False,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/dance/arms_movement",
        name="dance_arms_movement",
        args=(
            ArgInfo(name="value", type="f", help="movement of arms", default=0.0),
        ),
        help=(
            "Report another reading of the movement detector. It is used only if the movement "
            "map names it in `senders`."
        ),
        repeatable=True,
        writes=False,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/dance/head_movement",
        name="dance_head_movement",
        args=(
            ArgInfo(name="value", type="f", help="movement of heads", default=0.0),
        ),
        help=(
            "Report another reading of the movement detector. It is used only if the movement "
            "map names it in `senders`."
        ),
        repeatable=True,
        writes=False,
        subject="existing-sequencers",
    ),
    CommandInfo(
        address="/deck/{deck}/loop",
        name="deck_loop",
        args=(
            ArgInfo(
                name="beats",
                type="f",
                help="length",
                unit="beats",
                low=0.03125,
                high=64.0,
                required=True,
            ),
            ArgInfo(
                name="snap",
                type="f",
                help="snap to the nearest multiple of this many beats of the track; 0: do not snap",
                unit="beats",
                low=0,
                high=64.0,
                default=0.0,
            ),
        ),
        help="Start a loop of this many beats at the playhead.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/set",
        name="deck_loop_set",
        args=(
            ArgInfo(
                name="loop_in",
                type="f",
                help="loop start",
                unit="s",
                low=0,
                high=1000000.0,
                required=True,
            ),
            ArgInfo(
                name="loop_out",
                type="f",
                help="loop end",
                unit="s",
                low=0,
                high=1000000.0,
                required=True,
            ),
        ),
        help=(
            "Set a loop between two positions in the file. The track loops as soon as the "
            "playhead reaches the loop end."
        ),
        repeatable=True,
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/in",
        name="deck_loop_in",
        args=(
            ArgInfo(
                name="snap",
                type="f",
                help="snap to the nearest multiple of this many beats of the track; 0: do not snap",
                unit="beats",
                low=0,
                high=64.0,
                default=0.0,
            ),
        ),
        help="Set the loop start at the playhead. Looping begins with `loop/out`.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/out",
        name="deck_loop_out",
        args=(
            ArgInfo(
                name="snap",
                type="f",
                help="snap to the nearest multiple of this many beats of the track; 0: do not snap",
                unit="beats",
                low=0,
                high=64.0,
                default=0.0,
            ),
        ),
        help="Set the loop end at the playhead, and loop from the point set with `loop/in`.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/halve",
        name="deck_loop_halve",
        args=(),
        help="Halve the loop's length. The loop start does not move.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/double",
        name="deck_loop_double",
        args=(),
        help="Double the loop's length. The loop start does not move.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/move",
        name="deck_loop_move",
        args=(
            ArgInfo(
                name="beats",
                type="f",
                help="distance; negative: towards the beginning",
                unit="beats",
                low=-1024,
                high=1024,
                required=True,
            ),
        ),
        help=(
            "Move the loop by this many beats of the track's grid, together with the playhead in "
            "it."
        ),
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/exit",
        name="deck_loop_exit",
        args=(),
        help="Leave the loop: play past its end.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/loop/reloop",
        name="deck_loop_reloop",
        args=(),
        help="Re-enter the loop that was left last.",
        scheduled=True,
        aliases=("/deck/{deck}/loop/again",),
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/record/start",
        name="record_start",
        args=(
            ArgInfo(
                name="path",
                type="s",
                help=(
                    "file to write, `.wav` or `.flac`; `~` is your home folder, a relative path "
                    "starts at `--record-folder`, or else at the folder in which the server was "
                    "started"
                ),
                required=True,
            ),
            ArgInfo(
                name="what",
                type="s",
                help=(
                    "a format (wav16, wav24, float, flac) and what to record: master, cue, "
                    "decks, stems, inputs, a deck (`A`), a stem (`A/1`) or an input (`input1`)"
                ),
                rest=True,
            ),
        ),
        help=(
            "Record the master, or each of the named sources to a file of its own. Sources other "
            "than the master add a suffix to the file name: `mix-deck-A.wav`, "
            "`mix-A-1-drums.wav`. Without a format, the extension decides: `.wav` means wav24. "
            "Existing files are never overwritten."
        ),
        answers=(
            "`/done <address> path frame` for each file, with its first frame; later "
            "`/record/lost path frames` when the disk is too slow, `/record/continued path "
            "frames next` when the file has reached its maximum size and the recording continues "
            "in `next`, and `/record/failed path reason` when the file ends early; subscribers "
            "receive these as well"
        ),
        ending=Ending.DONE,
        scheduled=True,
        subject="recording",
    ),
    CommandInfo(
        address="/record/stop",
        name="record_stop",
        args=(),
        help="Stop recording. The files contain the frames up to this one.",
        answers="`/done <address> path frames` for each file when it is complete",
        ending=Ending.DONE,
        scheduled=True,
        subject="recording",
    ),
    CommandInfo(
        address="/record/status",
        name="record_status",
        args=(),
        help="Query the current recordings.",
        answers=(
            "`/record/status.reply files seconds lost path ...`: the number of files being "
            "recorded, their length, and the number of frames lost because the disk was too slow"
        ),
        reply="/record/status.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="recording",
    ),
    CommandInfo(
        address="/broadcast/start",
        name="broadcast_start",
        args=(
            ArgInfo(
                name="url",
                type="s",
                help=(
                    "`icecast://user:password@host:port/mount` (`icecast+tls://`: encrypted), "
                    "`hls:/folder`, `snapcast://host:port` or `pipe:/path`"
                ),
                required=True,
            ),
            ArgInfo(
                name="format",
                type="s",
                help="mp3, opus, flac, aac, pcm; empty: as the URL says",
                default="",
            ),
            ArgInfo(
                name="bitrate",
                type="i",
                help="0: as the URL says",
                unit="kbit/s",
                low=0,
                high=500,
                default=0,
            ),
        ),
        help=(
            "Send the master to a server, a folder or a pipe, and connect again whenever that "
            "fails. The password appears in no reply, no log and no status. Folders and pipes "
            "are restricted as recordings are."
        ),
        answers=(
            "`/done <address> number`; subscribers receive `/broadcast number live`, and "
            "`/broadcast number waiting reason` when it is interrupted"
        ),
        ending=Ending.DONE,
        subject="broadcast",
    ),
    CommandInfo(
        address="/broadcast/stop",
        name="broadcast_stop",
        args=(
            ArgInfo(name="number", type="i", help="0: all", low=0, high=8, default=0),
        ),
        help="Stop a broadcast, or all.",
        answers="`/done <address>`",
        ending=Ending.DONE,
        subject="broadcast",
    ),
    CommandInfo(
        address="/broadcast/list",
        name="broadcast_list",
        args=(),
        help="List the broadcasts.",
        answers=(
            "`/broadcast/list.reply number place format state reason dropped ...`: six values "
            "for each broadcast; `dropped`: seconds of audio that the receiver was too slow for"
        ),
        reply="/broadcast/list.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="broadcast",
    ),
    CommandInfo(
        address="/jack/ports",
        name="jack_ports",
        args=(
            ArgInfo(
                name="groups",
                type="s",
                help="what to offer; nothing: no ports",
                choices=("master", "cue", "music", "decks", "stems", "inputs"),
                rest=True,
            ),
        ),
        help=(
            "Offer decks, stems, buses and inputs as separate ports of a JACK or PipeWire "
            "server. Ports that stay keep their connections."
        ),
        subject="jack",
    ),
    CommandInfo(
        address="/jack/transport",
        name="jack_transport",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: follow it",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help=(
            "Follow the JACK transport: decks start and stop with it, and the clock takes its "
            "tempo."
        ),
        subject="jack",
    ),
    CommandInfo(
        address="/lights/add",
        name="lights_add",
        args=(
            ArgInfo(
                name="target",
                type="s",
                help="such as os2l, os2l://HOST:PORT, sacn://multicast/1 or artnet://HOST/0",
                required=True,
            ),
        ),
        help=(
            "Send beats, sections, energy and levels to a lighting program or DMX receiver. Only "
            "senders that `--osc-allow` trusts may add targets."
        ),
        subject="lights",
    ),
    CommandInfo(
        address="/lights/remove",
        name="lights_remove",
        args=(
            ArgInfo(
                name="target",
                type="s",
                help="a target as it was added; empty: all",
                default="",
            ),
        ),
        help="Stop sending to a target.",
        subject="lights",
    ),
    CommandInfo(
        address="/lights/lead",
        name="lights_lead",
        args=(
            ArgInfo(
                name="milliseconds",
                type="f",
                help="ahead of the sound; negative: behind it",
                unit="ms",
                low=-1000.0,
                high=2000.0,
                required=True,
            ),
        ),
        help=(
            "Set how far ahead of the sound beats and levels are sent to lights. It makes up for "
            "the delay of programs, networks and lamps. The default is that of `--lights-lead`."
        ),
        subject="lights",
    ),
    CommandInfo(
        address="/lights/list",
        name="lights_list",
        args=(),
        help="List the targets with their states (searching, sending, failed) and counters.",
        answers="`/lights/list.reply target state reason sent lost failures` for each target",
        reply="/lights/list.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="lights",
    ),
    CommandInfo(
        address="/link/enable",
        name="link_enable",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: join the session, 0: leave it",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help=(
            "Take part in an Ableton Link session, or leave it; see `--link`. Neither changes "
            "the clock's tempo or phase by a jump."
        ),
        subject="link",
    ),
    CommandInfo(
        address="/link/mode",
        name="link_mode",
        args=(
            ArgInfo(
                name="mode",
                type="s",
                help="what the clock does",
                required=True,
                choices=("follower", "leader", "peer"),
            ),
        ),
        help=(
            "Choose between following and leading the session. A follower takes tempo and phase "
            "from the session, and refuses tempo commands while there are other peers. A leader "
            "sets both. A peer takes both, and sends its tempo commands to the session."
        ),
        subject="link",
    ),
    CommandInfo(
        address="/link/startstop",
        name="link_startstop",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: share starts and stops with the session, 0: do not",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
            ArgInfo(
                name="decks",
                type="s",
                help="letters of the decks that the session starts and stops",
                default="ABCD",
            ),
        ),
        help=(
            "Share starts and stops with the session. When a follower's session starts, its "
            "decks that have a track start at the next bar; when it stops, they stop. A leader's "
            "session plays while a deck plays."
        ),
        subject="link",
    ),
    CommandInfo(
        address="/link/offset",
        name="link_offset",
        args=(
            ArgInfo(
                name="offset",
                type="f",
                help="positive: the output is heard later than reported",
                unit="ms",
                low=-1000.0,
                high=1000.0,
                required=True,
            ),
        ),
        help=(
            "Correct the output latency that the device reports, for Link only. For Bluetooth "
            "speakers, amplifiers with a delay, and drivers that report too little."
        ),
        subject="link",
    ),
    CommandInfo(
        address="/link/status",
        name="link_status",
        args=(),
        help="Query what Ableton Link does; the states are described with the `/status`.",
        answers=(
            "`/link/status.reply state mode peers bpm deviation start_stop playing reason`; the "
            "deviation of the session from the clock is in ms, positive if the session is ahead"
        ),
        reply="/link/status.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="link",
    ),
    CommandInfo(
        address="/midi/clock",
        name="midi_clock",
        args=(
            ArgInfo(
                name="port",
                type="s",
                help="part of the name of a port; empty: none",
                default="",
            ),
        ),
        help="Send MIDI clock, start, stop and song position to a port.",
        subject="midi",
    ),
    CommandInfo(
        address="/midi/follow",
        name="midi_follow",
        args=(
            ArgInfo(
                name="port",
                type="s",
                help="part of the name of a port; empty: none",
                default="",
            ),
        ),
        help=(
            "Follow the MIDI clock that a port receives: its tempo, and after a start its beats. "
            "The tempo is changed by up to 3 % to remove an error of the beats."
        ),
        subject="midi",
    ),
    CommandInfo(
        address="/midi/map/add",
        name="midi_map_add",
        args=(
            ArgInfo(
                name="mapping",
                type="s",
                help="name of a ready mapping, or path of a mapping file",
                required=True,
            ),
        ),
        help="Use a controller's mapping, or read its file again.",
        subject="midi",
    ),
    CommandInfo(
        address="/midi/map/remove",
        name="midi_map_remove",
        args=(
            ArgInfo(
                name="mapping",
                type="s",
                help="a mapping as it was added, or a port with learnt controls",
                required=True,
            ),
        ),
        help="Stop using a mapping.",
        subject="midi",
    ),
    CommandInfo(
        address="/midi/learn",
        name="midi_learn",
        args=(
            ArgInfo(
                name="address",
                type="s",
                help="address of the command, such as `/deck/A/level`",
                required=True,
            ),
            ArgInfo(name="arguments", type="*", help="its arguments before the value", rest=True),
        ),
        help=(
            "Map the next control that is moved or pressed on any MIDI device to a command. "
            "`/midi/learned` follows, with the port, the control, the address and the file in "
            "which it was saved."
        ),
        subject="midi",
    ),
    CommandInfo(
        address="/midi/learn/cancel",
        name="midi_learn_cancel",
        args=(),
        help="Stop waiting for a control.",
        subject="midi",
    ),
    CommandInfo(
        address="/midi/attach",
        name="midi_attach",
        args=(
            ArgInfo(
                name="port",
                type="s",
                help="name of a port of the sender's machine",
                required=True,
            ),
        ),
        help=(
            "Use a controller of another machine, as pages do by WebMIDI: its LEDs are in the "
            "state view. It needs a mapping whose port is a part of this name."
        ),
        subject="midi",
    ),
    CommandInfo(
        address="/midi/message",
        name="midi_message",
        args=(
            ArgInfo(
                name="port",
                type="s",
                help="name of a port of the sender's machine",
                required=True,
            ),
            ArgInfo(
                name="status",
                type="i",
                help="status byte: a note or a control change",
                low=128,
                high=191,
                required=True,
            ),
            ArgInfo(
                name="number",
                type="i",
                help="of the note or control change",
                low=0,
                high=127,
                required=True,
            ),
            ArgInfo(
                name="value",
                type="i",
                help="velocity or value",
                low=0,
                high=127,
                required=True,
            ),
        ),
        help="Handle a message of a controller of another machine, with the mapping of its port.",
        subject="midi",
    ),
    CommandInfo(
        address="/midi/list",
        name="midi_list",
        args=(),
        help="List the ports in use: the clock, the followed clock, and controllers.",
        answers="`/midi/list.reply role port state reason` for each port in use",
        reply="/midi/list.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="midi",
    ),
    CommandInfo(
        address="/rooms/role",
        name="rooms_role",
        args=(
            ArgInfo(
                name="role",
                type="s",
                help="what this room does",
                required=True,
                choices=("off", "leader", "follower"),
            ),
            ArgInfo(
                name="address",
                type="s",
                help="of a follower's leader, such as `192.168.1.20`",
                default="",
            ),
        ),
        help=(
            "Lead other rooms, follow the leader at an address, or play alone; see `--rooms`. "
            "The key and the folder of the music are those of the settings."
        ),
        subject="rooms",
    ),
    CommandInfo(
        address="/rooms/lead",
        name="rooms_lead",
        args=(
            ArgInfo(
                name="milliseconds",
                type="f",
                help="by which commands act later",
                unit="ms",
                low=20.0,
                high=1000.0,
                required=True,
            ),
        ),
        help=(
            "Set how much later a leader's commands act, in all rooms, than they arrive. It must "
            "be longer than the network and the largest difference of the output latencies."
        ),
        subject="rooms",
    ),
    CommandInfo(
        address="/rooms/status",
        name="rooms_status",
        args=(),
        help="Query whether the rooms are in step; the states are described with the `/status`.",
        answers=(
            "`/rooms/status.reply role state rooms in_step deviation error drift reason`; "
            "deviation and error of the clock in ms, of a leader the largest of its rooms; drift "
            "of a follower's output in ppm"
        ),
        reply="/rooms/status.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="rooms",
    ),
    CommandInfo(
        address="/schedule/status",
        name="schedule_status",
        args=(),
        help="Query the opening hours.",
        answers=(
            "`/schedule/status.reply open override known opens seconds`: 1 if it is open; 1 "
            "while overridden; 0 while the time of day is not known; 1 if the next change is an "
            "opening, and the seconds until then, -1 if there is none"
        ),
        reply="/schedule/status.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="opening-hours",
    ),
    CommandInfo(
        address="/schedule/override",
        name="schedule_override",
        args=(
            ArgInfo(
                name="state",
                type="s",
                help="open, closed, or auto: as the schedule says",
                required=True,
                choices=("open", "closed", "auto"),
            ),
        ),
        help="Open or close until the next change of the schedule.",
        repeatable=True,
        subject="opening-hours",
    ),
    CommandInfo(
        address="/schedule/reload",
        name="schedule_reload",
        args=(),
        help="Read the schedule's file again. If it is not valid, the present schedule stays.",
        subject="opening-hours",
    ),
    CommandInfo(
        address="/status",
        name="status",
        args=(),
        help="Query the server's status.",
        answers="`/status.reply`, see *Status*",
        reply="/status.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/notify",
        name="notify",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: subscribe, 0: unsubscribe",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="port",
                type="i",
                help=(
                    "port on which this client receives replies and events from now on; left "
                    "out: unchanged, which is at first the port that it sends from"
                ),
                low=1024,
                high=65535,
            ),
        ),
        help=(
            "Subscribe to events: underruns, ends of tracks, broken files. A client that "
            "receives on another port than it sends from names that port here, before it "
            "subscribes to anything else. With `on` 0, replies go to its sending port again, and "
            "the named port receives nothing more."
        ),
        answers="`/done /notify <client number> <maximum of clients>`, to that port",
        ending=Ending.DONE,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/changes/subscribe",
        name="changes_subscribe",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: subscribe, 0: unsubscribe",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help=(
            "Subscribe to the changes that all clients make: other clients, web pages and "
            "yourself. A client that subscribes by the alias receives former addresses where "
            "there are any."
        ),
        answers=(
            "`/done <address> <client number> <maximum of clients>`, then `/changed address "
            "arguments ...` for each change, see *Watch changes* in the introduction"
        ),
        ending=Ending.DONE,
        repeatable=True,
        writes=False,
        aliases=("/watch",),
        subject="server",
    ),
    CommandInfo(
        address="/feedback",
        name="feedback",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: subscribe to the mixer's values, 0: unsubscribe",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="echo",
                type="i",
                help="1: include the values that this client sets, 0: leave them out",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
            ArgInfo(
                name="addresses",
                type="s",
                help="addresses or patterns, including everything below them; none: all",
                rest=True,
            ),
        ),
        help=(
            "Subscribe to values, sent under the addresses that set them, for display on a "
            "controller."
        ),
        answers=(
            "`/done /feedback <client number> <maximum of clients>`, then all current values, "
            "and then each value that changes, see *Feedback for controllers* in the introduction"
        ),
        ending=Ending.DONE,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/events",
        name="events",
        args=(
            ArgInfo(name="count", type="i", help="number of events", low=1, high=100, default=20),
        ),
        help=(
            "Query the latest events of the event log, including those before the last restart. "
            "Subscribers (`/notify`) receive each new one as `/event`."
        ),
        answers=(
            "`/events.reply <count>`, followed by time (UTC), level (`info`, `warning`, "
            "`error`), kind and text of each event, the latest last"
        ),
        reply="/events.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/waiting",
        name="waiting",
        args=(),
        help="List the messages that are scheduled for a time or a beat.",
        answers="`/waiting.reply <count>`, followed by number, seconds and address of the first 50",
        reply="/waiting.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/cancel",
        name="cancel",
        args=(
            ArgInfo(
                name="what",
                type="s",
                help=(
                    "decks, and addresses or patterns including everything below them; none: all "
                    "messages"
                ),
                rest=True,
            ),
        ),
        help=(
            "Cancel messages that are scheduled for a time or a beat. `A` stands for all "
            "messages to deck A, including those of older vocabularies; `/deck/*/eq` for the EQ "
            "bands of all decks. Messages that act within half a second are already with the "
            "engine and are not cancelled."
        ),
        answers=(
            "`/done /cancel <count>`, and `/cancelled <address> <count>` to the senders of the "
            "discarded commands"
        ),
        ending=Ending.DONE,
        subject="server",
    ),
    CommandInfo(
        address="/cancel/number",
        name="cancel_number",
        args=(
            ArgInfo(name="number", type="i", help="number from `/waiting`", low=0, required=True),
        ),
        help="Cancel one bundle, or one message that is scheduled for a beat.",
        answers=(
            "`/done /cancel/number <count>`, and `/cancelled <address> <count>` to the senders "
            "of the discarded commands"
        ),
        ending=Ending.DONE,
        subject="server",
    ),
    CommandInfo(
        address="/sync",
        name="sync",
        args=(
            ArgInfo(name="id", type="i", help="any number", default=0),
        ),
        help="Reply once all commands sent before have been carried out.",
        answers="`/synced id`",
        reply="/synced",
        ending=Ending.ECHO,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/ping",
        name="ping",
        args=(
            ArgInfo(name="id", type="i", help="any number", default=0),
            ArgInfo(
                name="engine",
                type="i",
                help=(
                    "1: wait until the engine has received the commands sent before, so that "
                    "each `/late` comes first"
                ),
                low=0,
                high=1,
                default=0,
                switch=True,
            ),
        ),
        help=(
            "Reply once all commands sent before have been handled: each `/fail` comes before "
            "the reply. Unlike `/sync`, it does not wait for files that are still being loaded."
        ),
        answers="`/pong id`",
        reply="/pong",
        ending=Ending.ECHO,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/buffer_size",
        name="buffer_size",
        args=(
            ArgInfo(
                name="frames",
                type="i",
                help="frames per block",
                low=16,
                high=8192,
                required=True,
            ),
        ),
        help=(
            "Change the buffer size during playback. Another engine opens the device and "
            "continues at the very next frame. Before that, subscribers receive `/buffer_size "
            "<frames> <ms>` with the expected silence: at most one block, or on a device that "
            "takes only one stream at a time, the time that it takes to reopen. If the device "
            "does not accept the size, the old one stays. A restart of the server returns to the "
            "size in the settings."
        ),
        answers="`/done /buffer_size <frames> <ms of silence>`",
        ending=Ending.DONE,
        subject="server",
    ),
    CommandInfo(
        address="/settings/reload",
        name="settings_reload",
        args=(),
        help=(
            "Read the settings again, and apply what has changed while the music plays. "
            "`systemctl reload crowdstream` does the same. If anything in the configuration "
            "file, the movement map or the schedule is invalid, nothing changes. Settings that "
            "the reference does not mark as *live* stay as they are until the server is "
            "restarted."
        ),
        answers=(
            "`/settings/reload.reply <applied> <restart>`: names of settings, separated by "
            "spaces; those that were applied, and those that need a restart"
        ),
        reply="/settings/reload.reply",
        ending=Ending.FIRST,
        subject="server",
    ),
    CommandInfo(
        address="/quality",
        name="quality",
        args=(
            ArgInfo(
                name="level",
                type="i",
                help="load-shedding level",
                low=0,
                high=3,
                required=True,
                words=("auto",),
            ),
        ),
        help=(
            "Hold a quality level, or let it follow the CPU load. Level 0 is full quality. Level "
            "1 bypasses optional effects. Level 2 also bypasses keylock, so the pitch follows "
            "the tempo. Level 3 also interpolates with half the filter taps. With `auto`, "
            "quality drops by one level when rendering takes more than 70 percent of a block's "
            "duration or misses its deadline, and rises by one level after some seconds of low "
            "load. Everything that is bypassed is restored afterwards."
        ),
        repeatable=True,
        scheduled=True,
        subject="server",
    ),
    CommandInfo(
        address="/version",
        name="version",
        args=(),
        help="Query the program's name and version.",
        answers="`/version.reply name major minor patch branch commit`",
        reply="/version.reply",
        ending=Ending.FIRST,
        repeatable=True,
        writes=False,
        subject="server",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/eq/low",
        name="deck_stem_eq_low",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the low band of this stem's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/eq/mid",
        name="deck_stem_eq_mid",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the mid band of this stem's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/eq/high",
        name="deck_stem_eq_high",
        args=(
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain of the high band of this stem's EQ; 0 kills it.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/eq",
        name="deck_stem_eq",
        args=(
            ArgInfo(
                name="low",
                type="f",
                help="gain of the low band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="mid",
                type="f",
                help="gain of the mid band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="high",
                type="f",
                help="gain of the high band",
                unit="dB",
                low=-26.0,
                high=12.0,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the three bands of this stem's EQ in dB.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/filter",
        name="deck_stem_filter",
        args=(
            ArgInfo(
                name="knob",
                type="f",
                help="-1: low-pass closed, 0: off, 1: high-pass closed",
                low=-1,
                high=1,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help=(
            "Turn this stem's filter: low-pass to the left, high-pass to the right. The shortest "
            "ramp is 20 ms."
        ),
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/filter/resonance",
        name="deck_stem_filter_resonance",
        args=(
            ArgInfo(
                name="amount",
                type="f",
                help="0: no peak at the cutoff, 1: one of 18 dB",
                low=0,
                high=1,
                required=True,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the resonance of this stem's filter at its cutoff. The default is 0.",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/mute",
        name="deck_stem_mute",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help="Mute this stem, or unmute it at its present gain.",
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/solo",
        name="deck_stem_solo",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help="Solo this stem: only soloed stems of the track that are not muted are audible.",
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/pfl",
        name="deck_stem_pfl",
        args=(
            ArgInfo(
                name="gain",
                type="f",
                help="linear gain on the cue bus; 0: off",
                low=0,
                high=4.0,
                default=1.0,
            ),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Send this stem to the cue bus: pre-fader listening (PFL), after the stem's filter.",
        scheduled=True,
        aliases=("/deck/{deck}/stem/{stem}/listen",),
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/stem/{stem}/send",
        name="deck_stem_send",
        args=(
            ArgInfo(name="bus", type="i", help="send bus", low=1, high=2, required=True),
            ArgInfo(name="gain", type="f", help="linear gain", low=0, high=4.0, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="ramp time",
                unit="s",
                low=0,
                high=3600,
                default=0.02,
            ),
        ),
        help="Set the gain with which this stem feeds a send bus (post-gain).",
        repeatable=True,
        scheduled=True,
        subject="decks-and-mixer",
    ),
    CommandInfo(
        address="/deck/{deck}/seek/fraction",
        name="deck_seek_fraction",
        args=(
            ArgInfo(
                name="fraction",
                type="f",
                help="position, as a fraction of the length",
                low=0,
                high=1,
                required=True,
            ),
        ),
        help=(
            "Jump to a position in the track. While the deck is stopped, this moves its cue "
            "point."
        ),
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/seek/beat",
        name="deck_seek_beat",
        args=(
            ArgInfo(
                name="beat",
                type="f",
                help="beat of the track",
                unit="beats",
                low=-4096.0,
                high=1000000.0,
                required=True,
            ),
        ),
        help=(
            "Jump to a beat of the track's grid. While the deck is stopped, this moves its cue "
            "point."
        ),
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/jump",
        name="deck_jump",
        args=(
            ArgInfo(
                name="beats",
                type="f",
                help="distance; negative: backwards",
                unit="beats",
                low=-4096.0,
                high=4096.0,
                required=True,
            ),
        ),
        help="Jump by this many beats of the track's grid from the playhead's position.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/hotcue/set",
        name="deck_hotcue_set",
        args=(
            ArgInfo(name="number", type="i", help="hot cue", low=1, high=8, required=True),
            ArgInfo(
                name="seconds",
                type="f",
                help="position in the file; left out: the playhead",
                unit="s",
                low=0,
                high=1000000.0,
            ),
        ),
        help=(
            "Set a hot cue of the deck's track. Without `seconds`, it is set at the playhead's "
            "position at the time the command acts. With a quantum (`/deck/{deck}/quantize`) and "
            "a beat grid, it snaps to the nearest multiple of that."
        ),
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/hotcue",
        name="deck_hotcue",
        args=(
            ArgInfo(name="number", type="i", help="hot cue", low=1, high=8, required=True),
        ),
        help="Jump to a hot cue. While the deck is stopped, this moves its cue point there.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/hotcue/clear",
        name="deck_hotcue_clear",
        args=(
            ArgInfo(name="number", type="i", help="hot cue", low=1, high=8, required=True),
        ),
        help="Delete a hot cue.",
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/slip",
        name="deck_slip",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help=(
            "Switch slip mode on or off. With slip on, the track keeps running underneath loops, "
            "jumps and reverse. Switching it off jumps to the position that the track has "
            "reached by then."
        ),
        repeatable=True,
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/reverse",
        name="deck_reverse",
        args=(
            ArgInfo(
                name="on",
                type="i",
                help="1: on, 0: off",
                low=0,
                high=1,
                required=True,
                switch=True,
            ),
        ),
        help="Play the deck's track backwards, or forwards again.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/brake",
        name="deck_brake",
        args=(
            ArgInfo(
                name="seconds",
                type="f",
                help="duration",
                unit="s",
                low=0,
                high=60.0,
                default=1.0,
            ),
            ArgInfo(
                name="stop",
                type="i",
                help="1: stop the track at standstill, 0: hold it there",
                low=0,
                high=1,
                default=1,
                switch=True,
            ),
        ),
        help="Slow the deck's track, with its pitch, to a standstill, as a turntable switched off.",
        scheduled=True,
        subject="cues-and-loops",
    ),
    CommandInfo(
        address="/deck/{deck}/softstart",
        name="deck_softstart",
        args=(
            ArgInfo(
                name="seconds",
                type="f",
                help="duration",
                unit="s",
                low=0,
                high=60.0,
                default=1.0,
            ),
        ),
        help=(
            "Bring the deck's track up to speed from a standstill or brake. A stopped track is "
            "started."
        ),
        scheduled=True,
        aliases=("/deck/{deck}/spin",),
        subject="cues-and-loops",
    ),
)
