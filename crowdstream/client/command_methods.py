"""A typed method for each command of the server.

Generated from the server's command table by `python -P -m contrib.client_methods`; a test fails
when it is stale.
"""

from __future__ import annotations

from typing import Literal, Unpack

from crowdstream.client.calls import Caller, Deck, R_co, Timing, Value, Waiting, given


class CommandMethods(Caller[R_co]):
    """The methods; each returns what `call` returns for its address and arguments."""

    def clock_tempo(self, bpm: float, beats: float = 0.0, **options: Unpack[Timing]) -> R_co:
        """Ramp the clock's tempo linearly.

        `/clock/tempo`, sent again if lost.
        """
        return self.call("/clock/tempo", bpm, *given((beats,), (0.0,)), **options)

    def clock_meter(self, beats: int, **options: Unpack[Waiting]) -> R_co:
        """Set the beats per bar.

        `/clock/meter`, sent again if lost.
        """
        return self.call("/clock/meter", beats, **options)

    def clock_reset(self, **options: Unpack[Timing]) -> R_co:
        """Set beat 0 and time zero to now, and discard all scheduled commands sent before it.

        `/clock/reset`, sent once.
        """
        return self.call("/clock/reset", **options)

    def clock_time(self, id: int = 0, **options: Unpack[Waiting]) -> R_co:
        """Query the server's time of day, to measure how far its clock differs from another one.

        `/clock/time`, sent again if lost.
        """
        return self.call("/clock/time", *given((id,), (0,)), **options)

    def clock_at(
        self,
        beat: float,
        address: str,
        *arguments: Value,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Schedule another command at a beat of the clock, exact to the frame.

        `/clock/at`, sent once.
        """
        return self.call("/clock/at", beat, address, *arguments, **options)

    def clock_next(
        self,
        quantum: float | Literal["beat", "bar", "phrase"],
        address: str,
        *arguments: Value,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Schedule another command at the clock's next multiple of `quantum` beats.

        `/clock/next`, sent once.
        """
        return self.call("/clock/next", quantum, address, *arguments, **options)

    def clock_quantize(
        self,
        beats: float | Literal["beat", "bar", "phrase"],
        **options: Unpack[Waiting],
    ) -> R_co:
        """Set the quantum of all decks and sample pads that have none of their own.

        `/clock/quantize`, sent again if lost.
        """
        return self.call("/clock/quantize", beats, **options)

    def deck_quantize(
        self,
        deck: Deck,
        beats: float | Literal["beat", "bar", "phrase"],
        **options: Unpack[Waiting],
    ) -> R_co:
        """Make the deck's starts, stops, jumps, cues and loops wait for the next multiple of
        `beats`.

        `/deck/{deck}/quantize`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/quantize", beats, **options)

    def deck_load(
        self,
        deck: Deck,
        path: str,
        start: float = 0.0,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Load a track onto the deck.

        `/deck/{deck}/load`, sent once.
        """
        return self.call(f"/deck/{deck}/load", path, *given((start,), (0.0,)), **options)

    def deck_unload(self, deck: Deck, **options: Unpack[Waiting]) -> R_co:
        """Stop the deck's track and free its memory.

        `/deck/{deck}/unload`, sent once.
        """
        return self.call(f"/deck/{deck}/unload", **options)

    def deck_play(
        self,
        deck: Deck,
        start_at: float = 0.0,
        loop: bool = False,
        **options: Unpack[Timing],
    ) -> R_co:
        """Start the deck's track at its cue point.

        `/deck/{deck}/play`, sent once.
        """
        return self.call(f"/deck/{deck}/play", *given((start_at, loop), (0.0, False)), **options)

    def deck_stop(self, deck: Deck, **options: Unpack[Timing]) -> R_co:
        """Stop the deck's track.

        `/deck/{deck}/stop`, sent once.
        """
        return self.call(f"/deck/{deck}/stop", **options)

    def deck_seek(self, deck: Deck, position: float, **options: Unpack[Timing]) -> R_co:
        """Jump to a position in the track.

        `/deck/{deck}/seek`, sent once.
        """
        return self.call(f"/deck/{deck}/seek", position, **options)

    def deck_rate(self, deck: Deck, rate: float, **options: Unpack[Timing]) -> R_co:
        """Set the deck's playback rate, which changes tempo and pitch.

        `/deck/{deck}/rate`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/rate", rate, **options)

    def deck_gain(self, deck: Deck, gain: float, **options: Unpack[Timing]) -> R_co:
        """Set the gain of the deck's track.

        `/deck/{deck}/gain`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/gain", gain, **options)

    def deck_level(
        self,
        deck: Deck,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the deck's level (post-EQ).

        `/deck/{deck}/level`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/level", gain, *given((seconds,), (0.02,)), **options)

    def deck_stem(
        self,
        deck: Deck,
        number: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of one stem of the deck's track.

        `/deck/{deck}/stem`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/stem", number, gain, *given((seconds,), (0.02,)), **options)

    def deck_eq_low(
        self,
        deck: Deck,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the low band of the deck's EQ; 0 kills it.

        `/deck/{deck}/eq/low`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/eq/low", gain, *given((seconds,), (0.02,)), **options)

    def deck_eq_mid(
        self,
        deck: Deck,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the mid band of the deck's EQ; 0 kills it.

        `/deck/{deck}/eq/mid`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/eq/mid", gain, *given((seconds,), (0.02,)), **options)

    def deck_eq_high(
        self,
        deck: Deck,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the high band of the deck's EQ; 0 kills it.

        `/deck/{deck}/eq/high`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/eq/high", gain, *given((seconds,), (0.02,)), **options)

    def deck_keylock(self, deck: Deck, on: bool, **options: Unpack[Timing]) -> R_co:
        """Keep the pitch of the deck's present and future tracks constant when the tempo changes.

        `/deck/{deck}/keylock`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/keylock", on, **options)

    def deck_pitch(self, deck: Deck, semitones: float, **options: Unpack[Timing]) -> R_co:
        """Shift the pitch of the deck's present and future tracks without changing their tempo.

        `/deck/{deck}/pitch`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/pitch", semitones, **options)

    def mix_level(self, gain: float, seconds: float = 0.02, **options: Unpack[Timing]) -> R_co:
        """Set the master level (pre-limiter).

        `/mix/level`, sent again if lost.
        """
        return self.call("/mix/level", gain, *given((seconds,), (0.02,)), **options)

    def dj_next(self, **options: Unpack[Waiting]) -> R_co:
        """Make the DJ start the transition to the next track at the next phrase, once it is loaded.

        `/dj/next`, sent once.
        """
        return self.call("/dj/next", **options)

    def dj_skip(self, **options: Unpack[Waiting]) -> R_co:
        """Make the DJ skip the track that is up next and select another one.

        `/dj/skip`, sent once.
        """
        return self.call("/dj/skip", **options)

    def dj_hold(self, on: bool = True, **options: Unpack[Waiting]) -> R_co:
        """Make the DJ hold the playing track: its current phrase loops.

        `/dj/hold`, sent again if lost.
        """
        return self.call("/dj/hold", *given((on,), (True,)), **options)

    def dj_energy(self, energy: float | Literal["auto"], **options: Unpack[Waiting]) -> R_co:
        """Set the energy of the tracks that the DJ selects next.

        `/dj/energy`, sent again if lost.
        """
        return self.call("/dj/energy", energy, **options)

    def dj_hours(self, open: bool, **options: Unpack[Waiting]) -> R_co:
        """Open or close.

        `/dj/hours`, sent again if lost.
        """
        return self.call("/dj/hours", open, **options)

    def dj_folders(self, *folders: str, **options: Unpack[Waiting]) -> R_co:
        """Restrict the DJ's selection to folders of its library, from the next track on.

        `/dj/folders`, sent again if lost.
        """
        return self.call("/dj/folders", *folders, **options)

    def dj_tags(self, *tags: str, **options: Unpack[Waiting]) -> R_co:
        """Restrict the DJ's selection to tracks with certain tags, from the next track on.

        `/dj/tags`, sent again if lost.
        """
        return self.call("/dj/tags", *tags, **options)

    def dj_queue(self, path: str, **options: Unpack[Waiting]) -> R_co:
        """Queue a track, which the DJ plays as soon as it can.

        `/dj/queue`, sent once.
        """
        return self.call("/dj/queue", path, **options)

    def dj_ban(self, path: str = "", **options: Unpack[Waiting]) -> R_co:
        """Ban a track from the DJ's selection.

        `/dj/ban`, sent once.
        """
        return self.call("/dj/ban", *given((path,), ("",)), **options)

    def dj_release(
        self,
        what: Literal["A", "B", "C", "D", "tempo", "all"] = "all",
        **options: Unpack[Waiting],
    ) -> R_co:
        """Release a deck, the tempo or everything from manual control: the DJ takes it back.

        `/dj/release`, sent again if lost.
        """
        return self.call("/dj/release", *given((what,), ("all",)), **options)

    def dj_register(self, what: Literal["begin", "on", "end"], **options: Unpack[Waiting]) -> R_co:
        """Register as the DJ, and send a heartbeat every second.

        `/dj/register`, sent again if lost.
        """
        return self.call("/dj/register", what, **options)

    def dj_answer(self, number: int, reason: str = "", **options: Unpack[Waiting]) -> R_co:
        """As the DJ, report that a request was carried out, or why it was not.

        `/dj/answer`, sent again if lost.
        """
        return self.call("/dj/answer", number, *given((reason,), ("",)), **options)

    def dj_state(self, part: int, parts: int, text: str, **options: Unpack[Waiting]) -> R_co:
        """As the DJ, publish one's state, which the web page shows.

        `/dj/state`, sent again if lost.
        """
        return self.call("/dj/state", part, parts, text, **options)

    def fx_modules(self, **options: Unpack[Waiting]) -> R_co:
        """List the effect modules and their parameters.

        `/fx/modules`, sent again if lost.
        """
        return self.call("/fx/modules", **options)

    def deck_fx_insert(
        self,
        deck: Deck,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Insert an effect into an empty slot, with a crossfade.

        `/deck/{deck}/fx/insert`, sent once.
        """
        return self.call(f"/deck/{deck}/fx/insert", slot, module, *values, **options)

    def bus_fx_insert(
        self,
        bus: int,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Insert an effect into an empty slot, with a crossfade.

        `/bus/{bus}/fx/insert`, sent once.
        """
        return self.call(f"/bus/{bus}/fx/insert", slot, module, *values, **options)

    def mix_fx_insert(
        self,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Insert an effect into an empty slot, with a crossfade.

        `/mix/fx/insert`, sent once.
        """
        return self.call("/mix/fx/insert", slot, module, *values, **options)

    def input_fx_insert(
        self,
        input: int,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Insert an effect into an empty slot, with a crossfade.

        `/input/{input}/fx/insert`, sent once.
        """
        return self.call(f"/input/{input}/fx/insert", slot, module, *values, **options)

    def deck_fx_swap(
        self,
        deck: Deck,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Replace the effect in a slot with another one.

        `/deck/{deck}/fx/swap`, sent once.
        """
        return self.call(f"/deck/{deck}/fx/swap", slot, module, *values, **options)

    def bus_fx_swap(
        self,
        bus: int,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Replace the effect in a slot with another one.

        `/bus/{bus}/fx/swap`, sent once.
        """
        return self.call(f"/bus/{bus}/fx/swap", slot, module, *values, **options)

    def mix_fx_swap(
        self,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Replace the effect in a slot with another one.

        `/mix/fx/swap`, sent once.
        """
        return self.call("/mix/fx/swap", slot, module, *values, **options)

    def input_fx_swap(
        self,
        input: int,
        slot: int,
        module: str,
        *values: Value,
        **options: Unpack[Timing],
    ) -> R_co:
        """Replace the effect in a slot with another one.

        `/input/{input}/fx/swap`, sent once.
        """
        return self.call(f"/input/{input}/fx/swap", slot, module, *values, **options)

    def deck_fx_remove(self, deck: Deck, slot: int, **options: Unpack[Timing]) -> R_co:
        """Remove the effect from a slot.

        `/deck/{deck}/fx/remove`, sent once.
        """
        return self.call(f"/deck/{deck}/fx/remove", slot, **options)

    def bus_fx_remove(self, bus: int, slot: int, **options: Unpack[Timing]) -> R_co:
        """Remove the effect from a slot.

        `/bus/{bus}/fx/remove`, sent once.
        """
        return self.call(f"/bus/{bus}/fx/remove", slot, **options)

    def mix_fx_remove(self, slot: int, **options: Unpack[Timing]) -> R_co:
        """Remove the effect from a slot.

        `/mix/fx/remove`, sent once.
        """
        return self.call("/mix/fx/remove", slot, **options)

    def input_fx_remove(self, input: int, slot: int, **options: Unpack[Timing]) -> R_co:
        """Remove the effect from a slot.

        `/input/{input}/fx/remove`, sent once.
        """
        return self.call(f"/input/{input}/fx/remove", slot, **options)

    def deck_fx_move(self, deck: Deck, slot: int, to: int, **options: Unpack[Timing]) -> R_co:
        """Move an effect to another slot of its chain, with crossfades out and in.

        `/deck/{deck}/fx/move`, sent once.
        """
        return self.call(f"/deck/{deck}/fx/move", slot, to, **options)

    def bus_fx_move(self, bus: int, slot: int, to: int, **options: Unpack[Timing]) -> R_co:
        """Move an effect to another slot of its chain, with crossfades out and in.

        `/bus/{bus}/fx/move`, sent once.
        """
        return self.call(f"/bus/{bus}/fx/move", slot, to, **options)

    def mix_fx_move(self, slot: int, to: int, **options: Unpack[Timing]) -> R_co:
        """Move an effect to another slot of its chain, with crossfades out and in.

        `/mix/fx/move`, sent once.
        """
        return self.call("/mix/fx/move", slot, to, **options)

    def input_fx_move(self, input: int, slot: int, to: int, **options: Unpack[Timing]) -> R_co:
        """Move an effect to another slot of its chain, with crossfades out and in.

        `/input/{input}/fx/move`, sent once.
        """
        return self.call(f"/input/{input}/fx/move", slot, to, **options)

    def deck_fx_set(
        self,
        deck: Deck,
        slot: int,
        parameter: str,
        value: float,
        seconds: float = -1.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set a parameter of an effect.

        `/deck/{deck}/fx/set`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/fx/set",
            slot,
            parameter,
            value,
            *given((seconds,), (-1.0,)),
            **options,
        )

    def bus_fx_set(
        self,
        bus: int,
        slot: int,
        parameter: str,
        value: float,
        seconds: float = -1.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set a parameter of an effect.

        `/bus/{bus}/fx/set`, sent again if lost.
        """
        return self.call(
            f"/bus/{bus}/fx/set",
            slot,
            parameter,
            value,
            *given((seconds,), (-1.0,)),
            **options,
        )

    def mix_fx_set(
        self,
        slot: int,
        parameter: str,
        value: float,
        seconds: float = -1.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set a parameter of an effect.

        `/mix/fx/set`, sent again if lost.
        """
        return self.call(
            "/mix/fx/set",
            slot,
            parameter,
            value,
            *given((seconds,), (-1.0,)),
            **options,
        )

    def input_fx_set(
        self,
        input: int,
        slot: int,
        parameter: str,
        value: float,
        seconds: float = -1.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set a parameter of an effect.

        `/input/{input}/fx/set`, sent again if lost.
        """
        return self.call(
            f"/input/{input}/fx/set",
            slot,
            parameter,
            value,
            *given((seconds,), (-1.0,)),
            **options,
        )

    def deck_fx_mix(
        self,
        deck: Deck,
        slot: int,
        mix: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the dry/wet mix of an effect.

        `/deck/{deck}/fx/mix`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/fx/mix", slot, mix, *given((seconds,), (0.02,)), **options)

    def bus_fx_mix(
        self,
        bus: int,
        slot: int,
        mix: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the dry/wet mix of an effect.

        `/bus/{bus}/fx/mix`, sent again if lost.
        """
        return self.call(f"/bus/{bus}/fx/mix", slot, mix, *given((seconds,), (0.02,)), **options)

    def mix_fx_mix(
        self,
        slot: int,
        mix: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the dry/wet mix of an effect.

        `/mix/fx/mix`, sent again if lost.
        """
        return self.call("/mix/fx/mix", slot, mix, *given((seconds,), (0.02,)), **options)

    def input_fx_mix(
        self,
        input: int,
        slot: int,
        mix: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the dry/wet mix of an effect.

        `/input/{input}/fx/mix`, sent again if lost.
        """
        return self.call(
            f"/input/{input}/fx/mix",
            slot,
            mix,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_fx_on(
        self,
        deck: Deck,
        slot: int,
        on: bool = True,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Switch an effect on or off.

        `/deck/{deck}/fx/on`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/fx/on",
            slot,
            *given((on, seconds), (True, 0.02)),
            **options,
        )

    def bus_fx_on(
        self,
        bus: int,
        slot: int,
        on: bool = True,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Switch an effect on or off.

        `/bus/{bus}/fx/on`, sent again if lost.
        """
        return self.call(f"/bus/{bus}/fx/on", slot, *given((on, seconds), (True, 0.02)), **options)

    def mix_fx_on(
        self,
        slot: int,
        on: bool = True,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Switch an effect on or off.

        `/mix/fx/on`, sent again if lost.
        """
        return self.call("/mix/fx/on", slot, *given((on, seconds), (True, 0.02)), **options)

    def input_fx_on(
        self,
        input: int,
        slot: int,
        on: bool = True,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Switch an effect on or off.

        `/input/{input}/fx/on`, sent again if lost.
        """
        return self.call(
            f"/input/{input}/fx/on",
            slot,
            *given((on, seconds), (True, 0.02)),
            **options,
        )

    def deck_fx_list(self, deck: Deck, **options: Unpack[Waiting]) -> R_co:
        """List the effects in a chain.

        `/deck/{deck}/fx/list`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/fx/list", **options)

    def bus_fx_list(self, bus: int, **options: Unpack[Waiting]) -> R_co:
        """List the effects in a chain.

        `/bus/{bus}/fx/list`, sent again if lost.
        """
        return self.call(f"/bus/{bus}/fx/list", **options)

    def mix_fx_list(self, **options: Unpack[Waiting]) -> R_co:
        """List the effects in a chain.

        `/mix/fx/list`, sent again if lost.
        """
        return self.call("/mix/fx/list", **options)

    def input_fx_list(self, input: int, **options: Unpack[Waiting]) -> R_co:
        """List the effects in a chain.

        `/input/{input}/fx/list`, sent again if lost.
        """
        return self.call(f"/input/{input}/fx/list", **options)

    def mix_route(
        self,
        source: Literal["A", "B", "C", "D", "bus1", "bus2"],
        destination: Literal["bus1", "bus2", "master"],
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain with which a deck or bus feeds a bus or the master.

        `/mix/route`, sent again if lost.
        """
        return self.call(
            "/mix/route",
            source,
            destination,
            gain,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_send(
        self,
        deck: Deck,
        bus: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain with which the deck feeds a send bus; the same as `/mix/route`.

        `/deck/{deck}/send`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/send", bus, gain, *given((seconds,), (0.02,)), **options)

    def deck_send_pre(
        self,
        deck: Deck,
        bus: int,
        on: bool = True,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Switch the deck's send to a bus between pre-fader and post-fader (the default).

        `/deck/{deck}/send/pre`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/send/pre",
            bus,
            *given((on, seconds), (True, 0.02)),
            **options,
        )

    def deck_grid(
        self,
        deck: Deck,
        bpm: float,
        first_downbeat: float = 0.0,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Give the deck's track a beat grid of constant tempo, in place of the grid from its file.

        `/deck/{deck}/grid`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/grid", bpm, *given((first_downbeat,), (0.0,)), **options)

    def deck_grid_point(
        self,
        deck: Deck,
        beat: float,
        seconds: float,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Place a beat of the deck's track; the grid then passes through this point as well.

        `/deck/{deck}/grid/point`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/grid/point", beat, seconds, **options)

    def deck_grid_points(self, deck: Deck, *pairs: float, **options: Unpack[Waiting]) -> R_co:
        """Give the deck's track a beat grid of varying tempo, linear between these points.

        `/deck/{deck}/grid/points`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/grid/points", *pairs, **options)

    def deck_grid_confidence(
        self,
        deck: Deck,
        confidence: float,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Set the confidence of the beat grid of the deck's track.

        `/deck/{deck}/grid/confidence`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/grid/confidence", confidence, **options)

    def deck_grid_clear(self, deck: Deck, **options: Unpack[Waiting]) -> R_co:
        """Remove the beat grid of the deck's track.

        `/deck/{deck}/grid/clear`, sent once.
        """
        return self.call(f"/deck/{deck}/grid/clear", **options)

    def deck_sync(
        self,
        deck: Deck,
        on: bool,
        quantum: float = 1.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Derive the playhead of the deck's track from the clock, through its beat grid.

        `/deck/{deck}/sync`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/sync", on, *given((quantum,), (1.0,)), **options)

    def deck_sync_ratio(self, deck: Deck, ratio: float, **options: Unpack[Timing]) -> R_co:
        """Set the number of its own beats that a synced track plays per beat of the clock.

        `/deck/{deck}/sync/ratio`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/sync/ratio", ratio, **options)

    def mix_crossfader(
        self,
        position: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Move the crossfader.

        `/mix/crossfader`, sent again if lost.
        """
        return self.call("/mix/crossfader", position, *given((seconds,), (0.02,)), **options)

    def mix_crossfader_curve(
        self,
        name: Literal["additive", "constant-power", "cut"],
        **options: Unpack[Timing],
    ) -> R_co:
        """Choose the crossfader curve.

        `/mix/crossfader/curve`, sent again if lost.
        """
        return self.call("/mix/crossfader/curve", name, **options)

    def deck_crossfader(
        self,
        deck: Deck,
        side: Literal["left", "right", "through"],
        **options: Unpack[Timing],
    ) -> R_co:
        """Assign the deck to a side of the crossfader, or to neither (`through`, the default).

        `/deck/{deck}/crossfader`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/crossfader", side, **options)

    def deck_eq_db(
        self,
        deck: Deck,
        low: float,
        mid: float,
        high: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the three bands of the deck's EQ in dB.

        `/deck/{deck}/eq`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/eq", low, mid, high, *given((seconds,), (0.02,)), **options)

    def deck_kill(
        self,
        deck: Deck,
        band: Literal["low", "mid", "high"],
        on: bool = True,
        **options: Unpack[Timing],
    ) -> R_co:
        """Silence a band of the deck's EQ, or restore its previous gain.

        `/deck/{deck}/kill`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/kill", band, *given((on,), (True,)), **options)

    def deck_trim(
        self,
        deck: Deck,
        decibels: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain with which the deck enters the mixer (pre-EQ).

        `/deck/{deck}/trim`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/trim", decibels, *given((seconds,), (0.02,)), **options)

    def deck_filter_knob(
        self,
        deck: Deck,
        knob: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Turn the deck's filter: low-pass to the left, high-pass to the right, off in the middle.

        `/deck/{deck}/filter`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/filter", knob, *given((seconds,), (0.02,)), **options)

    def deck_filter_resonance(
        self,
        deck: Deck,
        amount: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the resonance of the deck's filter at its cutoff.

        `/deck/{deck}/filter/resonance`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/filter/resonance",
            amount,
            *given((seconds,), (0.02,)),
            **options,
        )

    def mix_ceiling(self, decibels: float, **options: Unpack[Timing]) -> R_co:
        """Set the limiter's true-peak ceiling, as `--limiter-ceiling` does.

        `/mix/ceiling`, sent again if lost.
        """
        return self.call("/mix/ceiling", decibels, **options)

    def deck_pfl(
        self,
        deck: Deck,
        gain: float = 1.0,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Send the deck to the cue bus: pre-fader listening (PFL), after the deck's effects.

        `/deck/{deck}/pfl`, sent once.
        """
        return self.call(f"/deck/{deck}/pfl", *given((gain, seconds), (1.0, 0.02)), **options)

    def mix_cue_level(self, gain: float, seconds: float = 0.02, **options: Unpack[Timing]) -> R_co:
        """Set the level of the cue bus.

        `/mix/cue/level`, sent again if lost.
        """
        return self.call("/mix/cue/level", gain, *given((seconds,), (0.02,)), **options)

    def deck_trim_auto(self, deck: Deck, on: bool = True, **options: Unpack[Timing]) -> R_co:
        """Trim the deck automatically so that its tracks have the loudness of `--target-lufs`.

        `/deck/{deck}/trim/auto`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/trim/auto", *given((on,), (True,)), **options)

    def mix_autotrim(self, on: bool = True, **options: Unpack[Timing]) -> R_co:
        """Trim all decks automatically, so that their tracks have the same loudness.

        `/mix/autotrim`, sent again if lost.
        """
        return self.call("/mix/autotrim", *given((on,), (True,)), **options)

    def sample_load(self, sample: int, path: str, **options: Unpack[Waiting]) -> R_co:
        """Load a sample of up to 2 minutes onto the pad.

        `/sample/{sample}/load`, sent once.
        """
        return self.call(f"/sample/{sample}/load", path, **options)

    def sample_unload(self, sample: int, **options: Unpack[Waiting]) -> R_co:
        """Stop the pad and free its memory.

        `/sample/{sample}/unload`, sent once.
        """
        return self.call(f"/sample/{sample}/unload", **options)

    def sample_play(self, sample: int, **options: Unpack[Timing]) -> R_co:
        """Play the sample from its beginning, at its own speed.

        `/sample/{sample}/play`, sent once.
        """
        return self.call(f"/sample/{sample}/play", **options)

    def sample_stop(self, sample: int, **options: Unpack[Timing]) -> R_co:
        """Fade the pad out.

        `/sample/{sample}/stop`, sent once.
        """
        return self.call(f"/sample/{sample}/stop", **options)

    def sample_level(
        self,
        sample: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the pad's level.

        `/sample/{sample}/level`, sent again if lost.
        """
        return self.call(f"/sample/{sample}/level", gain, *given((seconds,), (0.02,)), **options)

    def sample_loop(self, sample: int, on: bool, **options: Unpack[Timing]) -> R_co:
        """Loop the pad's sample, now and whenever it is played.

        `/sample/{sample}/loop`, sent again if lost.
        """
        return self.call(f"/sample/{sample}/loop", on, **options)

    def sample_quantize(
        self,
        sample: int,
        beats: float | Literal["beat", "bar", "phrase"],
        **options: Unpack[Waiting],
    ) -> R_co:
        """Make the pad's starts wait for the next multiple of `beats` of the clock.

        `/sample/{sample}/quantize`, sent once.
        """
        return self.call(f"/sample/{sample}/quantize", beats, **options)

    def sample_output(
        self,
        sample: int,
        output: Literal["master", "cue", "both"],
        **options: Unpack[Timing],
    ) -> R_co:
        """Route the pad to the master, to the cue bus, or to both.

        `/sample/{sample}/output`, sent again if lost.
        """
        return self.call(f"/sample/{sample}/output", output, **options)

    def mix_samples(self, gain: float, seconds: float = 0.02, **options: Unpack[Timing]) -> R_co:
        """Set the level of all sample pads in the master.

        `/mix/samples`, sent again if lost.
        """
        return self.call("/mix/samples", gain, *given((seconds,), (0.02,)), **options)

    def mix_announcements(
        self,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the level of announcements in the master.

        `/mix/announcements`, sent again if lost.
        """
        return self.call("/mix/announcements", gain, *given((seconds,), (0.02,)), **options)

    def announce(
        self,
        path: str,
        depth: float = 14.0,
        attack: float = 0.4,
        hold: float = 0.3,
        release: float = 1.2,
        ahead: float = 0.5,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Play a file over the ducked mix, after the announcements that are already in the queue.

        `/announce`, sent once.
        """
        return self.call(
            "/announce",
            path,
            *given((depth, attack, hold, release, ahead), (14.0, 0.4, 0.3, 1.2, 0.5)),
            **options,
        )

    def announce_skip(self, **options: Unpack[Waiting]) -> R_co:
        """Fade the current announcement out.

        `/announce/skip`, sent once.
        """
        return self.call("/announce/skip", **options)

    def announce_clear(self, **options: Unpack[Waiting]) -> R_co:
        """Fade the current announcement out, and remove all others from the queue.

        `/announce/clear`, sent once.
        """
        return self.call("/announce/clear", **options)

    def input_gain(
        self,
        input: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain with which the input enters the mixer (pre-EQ).

        `/input/{input}/gain`, sent again if lost.
        """
        return self.call(f"/input/{input}/gain", gain, *given((seconds,), (0.02,)), **options)

    def input_eq(
        self,
        input: int,
        low: float,
        mid: float,
        high: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the three bands of the input's EQ in dB.

        `/input/{input}/eq`, sent again if lost.
        """
        return self.call(
            f"/input/{input}/eq",
            low,
            mid,
            high,
            *given((seconds,), (0.02,)),
            **options,
        )

    def input_eq_low(
        self,
        input: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the low band of the input's EQ; 0 kills it.

        `/input/{input}/eq/low`, sent again if lost.
        """
        return self.call(f"/input/{input}/eq/low", gain, *given((seconds,), (0.02,)), **options)

    def input_eq_mid(
        self,
        input: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the mid band of the input's EQ; 0 kills it.

        `/input/{input}/eq/mid`, sent again if lost.
        """
        return self.call(f"/input/{input}/eq/mid", gain, *given((seconds,), (0.02,)), **options)

    def input_eq_high(
        self,
        input: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the high band of the input's EQ; 0 kills it.

        `/input/{input}/eq/high`, sent again if lost.
        """
        return self.call(f"/input/{input}/eq/high", gain, *given((seconds,), (0.02,)), **options)

    def input_kill(
        self,
        input: int,
        band: Literal["low", "mid", "high"],
        on: bool = True,
        **options: Unpack[Timing],
    ) -> R_co:
        """Silence a band of the input's EQ, or restore its previous gain.

        `/input/{input}/kill`, sent again if lost.
        """
        return self.call(f"/input/{input}/kill", band, *given((on,), (True,)), **options)

    def input_filter(
        self,
        input: int,
        knob: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Turn the input's filter: low-pass to the left, high-pass to the right, off in the middle.

        `/input/{input}/filter`, sent again if lost.
        """
        return self.call(f"/input/{input}/filter", knob, *given((seconds,), (0.02,)), **options)

    def input_filter_resonance(
        self,
        input: int,
        amount: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the resonance of the input's filter at its cutoff.

        `/input/{input}/filter/resonance`, sent again if lost.
        """
        return self.call(
            f"/input/{input}/filter/resonance",
            amount,
            *given((seconds,), (0.02,)),
            **options,
        )

    def input_level(
        self,
        input: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the input's level (post-EQ).

        `/input/{input}/level`, sent again if lost.
        """
        return self.call(f"/input/{input}/level", gain, *given((seconds,), (0.02,)), **options)

    def input_mute(self, input: int, on: bool = True, **options: Unpack[Timing]) -> R_co:
        """Mute the input in the master, or open it, also after it was muted because of feedback.

        `/input/{input}/mute`, sent again if lost.
        """
        return self.call(f"/input/{input}/mute", *given((on,), (True,)), **options)

    def input_pfl(
        self,
        input: int,
        gain: float = 1.0,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Send the input to the cue bus: pre-fader listening (PFL), after the input's effects.

        `/input/{input}/pfl`, sent once.
        """
        return self.call(f"/input/{input}/pfl", *given((gain, seconds), (1.0, 0.02)), **options)

    def input_guard(self, input: int, on: bool, **options: Unpack[Waiting]) -> R_co:
        """Choose whether the input is muted when it carries the server's own output.

        `/input/{input}/guard`, sent again if lost.
        """
        return self.call(f"/input/{input}/guard", on, **options)

    def input_talkover(self, input: int, on: bool = True, **options: Unpack[Timing]) -> R_co:
        """Duck decks and samples while the input, after its level, is loud enough.

        `/input/{input}/talkover`, sent again if lost.
        """
        return self.call(f"/input/{input}/talkover", *given((on,), (True,)), **options)

    def input_talkover_threshold(
        self,
        input: int,
        decibels: float,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the level of the input from which the music is ducked.

        `/input/{input}/talkover/threshold`, sent again if lost.
        """
        return self.call(f"/input/{input}/talkover/threshold", decibels, **options)

    def input_talkover_hysteresis(
        self,
        input: int,
        decibels: float,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set how far the input must fall below the threshold before the music rises again.

        `/input/{input}/talkover/hysteresis`, sent again if lost.
        """
        return self.call(f"/input/{input}/talkover/hysteresis", decibels, **options)

    def input_talkover_depth(self, input: int, decibels: float, **options: Unpack[Timing]) -> R_co:
        """Set the attenuation of decks and samples during talkover.

        `/input/{input}/talkover/depth`, sent again if lost.
        """
        return self.call(f"/input/{input}/talkover/depth", decibels, **options)

    def input_talkover_attack(self, input: int, seconds: float, **options: Unpack[Timing]) -> R_co:
        """Set the attack time of the talkover.

        `/input/{input}/talkover/attack`, sent again if lost.
        """
        return self.call(f"/input/{input}/talkover/attack", seconds, **options)

    def input_talkover_hold(self, input: int, seconds: float, **options: Unpack[Timing]) -> R_co:
        """Set the hold time of the talkover.

        `/input/{input}/talkover/hold`, sent again if lost.
        """
        return self.call(f"/input/{input}/talkover/hold", seconds, **options)

    def input_talkover_release(self, input: int, seconds: float, **options: Unpack[Timing]) -> R_co:
        """Set the release time of the talkover.

        `/input/{input}/talkover/release`, sent again if lost.
        """
        return self.call(f"/input/{input}/talkover/release", seconds, **options)

    def load_buffer(self, id: int, path: str, name: str = "", **options: Unpack[Waiting]) -> R_co:
        """Load a file into a buffer.

        `/load_buffer`, sent once.
        """
        return self.call("/load_buffer", id, path, *given((name,), ("",)), **options)

    def play_stem(
        self,
        id: int,
        rate: float = 1.0,
        volume: float = 0.8,
        loop: bool = True,
        start: float = 0.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Play a buffer from a fraction of its length.

        `/play_stem`, sent once.
        """
        return self.call(
            "/play_stem",
            id,
            *given((rate, volume, loop, start), (1.0, 0.8, True, 0.0)),
            **options,
        )

    def play_stem_section(
        self,
        id: int,
        rate: float = 1.0,
        volume: float = 0.8,
        loop: bool = True,
        start: float = 0.0,
        seconds: float = 4.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Play a section of a buffer; with loop 1 the section loops.

        `/play_stem_section`, sent once.
        """
        return self.call(
            "/play_stem_section",
            id,
            *given((rate, volume, loop, start, seconds), (1.0, 0.8, True, 0.0, 4.0)),
            **options,
        )

    def stop_stem(self, id: int, **options: Unpack[Timing]) -> R_co:
        """Stop a buffer.

        `/stop_stem`, sent again if lost.
        """
        return self.call("/stop_stem", id, **options)

    def stem_volume(self, id: int, volume: float, **options: Unpack[Timing]) -> R_co:
        """Set the gain of a buffer.

        `/stem_volume`, sent again if lost.
        """
        return self.call("/stem_volume", id, volume, **options)

    def cue(self, deck: Deck, path: str, start: float = 0.0, **options: Unpack[Waiting]) -> R_co:
        """Load and arm the deck's first buffer (100 of deck A, 1100 of B, 2100 of C, 3100 of D).

        `/cue`, sent once.
        """
        return self.call("/cue", deck, path, *given((start,), (0.0,)), **options)

    def start_group(self, start_at: float = 0.0, *decks: Deck, **options: Unpack[Timing]) -> R_co:
        """Start armed decks together, on the same frame.

        `/start_group`, sent once.
        """
        return self.call("/start_group", start_at, *decks, **options)

    def play(
        self,
        deck: Deck,
        path: str,
        start_at: float = 0.0,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Load a file into the deck's first buffer, then start it at that time.

        `/play`, sent once.
        """
        return self.call("/play", deck, path, *given((start_at,), (0.0,)), **options)

    def fade(
        self,
        deck: Deck,
        start_at: float = 0.0,
        seconds: float = 2.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Ramp the deck's level to 0 from its value at that time.

        `/fade`, sent once.
        """
        return self.call("/fade", deck, *given((start_at, seconds), (0.0, 2.0)), **options)

    def crossfade_levels(self, a: float, b: float, **options: Unpack[Timing]) -> R_co:
        """Set the levels of decks A and B.

        `/crossfade_levels`, sent again if lost.
        """
        return self.call("/crossfade_levels", a, b, **options)

    def deck_levels(
        self,
        a: float,
        b: float | None = None,
        c: float | None = None,
        d: float | None = None,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the levels of all decks.

        `/deck_levels`, sent again if lost.
        """
        return self.call("/deck_levels", a, *given((b, c, d), (None, None, None)), **options)

    def deck_filter(
        self,
        deck: Deck,
        band: Literal["low", "mid", "high"],
        gain: float,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of a band of a deck's EQ.

        `/deck_filter`, sent again if lost.
        """
        return self.call("/deck_filter", deck, band, gain, **options)

    def deck_eq(
        self,
        deck: Deck,
        band: Literal["low", "mid", "high"],
        percent: float,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set a band of a deck's EQ in percent.

        `/deck_eq`, sent again if lost.
        """
        return self.call("/deck_eq", deck, band, percent, **options)

    def deck_eq_all(
        self,
        deck: Deck,
        low: float,
        mid: float,
        high: float,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set all three bands of a deck's EQ in percent.

        `/deck_eq_all`, sent again if lost.
        """
        return self.call("/deck_eq_all", deck, low, mid, high, **options)

    def set_tempo(self, bpm: float, **options: Unpack[Timing]) -> R_co:
        """Set the tempo of the clock.

        `/set_tempo`, sent again if lost.
        """
        return self.call("/set_tempo", bpm, **options)

    def set_meter(self, beats: int, **options: Unpack[Waiting]) -> R_co:
        """Set the beats per bar.

        `/set_meter`, sent again if lost.
        """
        return self.call("/set_meter", beats, **options)

    def print_clock(self, on: bool = True, **options: Unpack[Waiting]) -> R_co:
        """Print bar, beat and phase on each beat, starting with the next one.

        `/print_clock`, sent once.
        """
        return self.call("/print_clock", *given((on,), (True,)), **options)

    def reset(self, **options: Unpack[Timing]) -> R_co:
        """Set time zero to now and restart the beat clock.

        `/reset`, sent once.
        """
        return self.call("/reset", **options)

    def schedule_c_at(self, start_at: float = 0.0, **options: Unpack[Timing]) -> R_co:
        """Start the cued or loaded track of deck C at that time.

        `/schedule_c_at`, sent once.
        """
        return self.call("/schedule_c_at", *given((start_at,), (0.0,)), **options)

    def test_tone(self, hertz: float = 440.0, **options: Unpack[Timing]) -> R_co:
        """Play a quiet tone of one second on the master.

        `/test_tone`, sent once.
        """
        return self.call("/test_tone", *given((hertz,), (440.0,)), **options)

    def mixer_cleanup(self, **options: Unpack[Waiting]) -> R_co:
        """Stop everything, free the decks' buffers and discard all commands scheduled before.

        `/mixer_cleanup`, sent once.
        """
        return self.call("/mixer_cleanup", **options)

    def dance_total_movement(self, movement: float, **options: Unpack[Waiting]) -> R_co:
        """Report the crowd's movement.

        `/dance/total_movement`, sent once.
        """
        return self.call("/dance/total_movement", movement, **options)

    def dance_person_count(self, value: float = 0.0, **options: Unpack[Waiting]) -> R_co:
        """Report another reading of the movement detector.

        `/dance/person_count`, sent again if lost.
        """
        return self.call("/dance/person_count", *given((value,), (0.0,)), **options)

    def dance_legs_movement(self, value: float = 0.0, **options: Unpack[Waiting]) -> R_co:
        """Report another reading of the movement detector.

        `/dance/legs_movement`, sent again if lost.
        """
        return self.call("/dance/legs_movement", *given((value,), (0.0,)), **options)

    def dance_arms_movement(self, value: float = 0.0, **options: Unpack[Waiting]) -> R_co:
        """Report another reading of the movement detector.

        `/dance/arms_movement`, sent again if lost.
        """
        return self.call("/dance/arms_movement", *given((value,), (0.0,)), **options)

    def dance_head_movement(self, value: float = 0.0, **options: Unpack[Waiting]) -> R_co:
        """Report another reading of the movement detector.

        `/dance/head_movement`, sent again if lost.
        """
        return self.call("/dance/head_movement", *given((value,), (0.0,)), **options)

    def deck_loop(
        self,
        deck: Deck,
        beats: float,
        snap: float = 0.0,
        **options: Unpack[Timing],
    ) -> R_co:
        """Start a loop of this many beats at the playhead.

        `/deck/{deck}/loop`, sent once.
        """
        return self.call(f"/deck/{deck}/loop", beats, *given((snap,), (0.0,)), **options)

    def deck_loop_set(
        self,
        deck: Deck,
        loop_in: float,
        loop_out: float,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set a loop between two positions in the file.

        `/deck/{deck}/loop/set`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/loop/set", loop_in, loop_out, **options)

    def deck_loop_in(self, deck: Deck, snap: float = 0.0, **options: Unpack[Timing]) -> R_co:
        """Set the loop start at the playhead.

        `/deck/{deck}/loop/in`, sent once.
        """
        return self.call(f"/deck/{deck}/loop/in", *given((snap,), (0.0,)), **options)

    def deck_loop_out(self, deck: Deck, snap: float = 0.0, **options: Unpack[Timing]) -> R_co:
        """Set the loop end at the playhead, and loop from the point set with `loop/in`.

        `/deck/{deck}/loop/out`, sent once.
        """
        return self.call(f"/deck/{deck}/loop/out", *given((snap,), (0.0,)), **options)

    def deck_loop_halve(self, deck: Deck, **options: Unpack[Timing]) -> R_co:
        """Halve the loop's length.

        `/deck/{deck}/loop/halve`, sent once.
        """
        return self.call(f"/deck/{deck}/loop/halve", **options)

    def deck_loop_double(self, deck: Deck, **options: Unpack[Timing]) -> R_co:
        """Double the loop's length.

        `/deck/{deck}/loop/double`, sent once.
        """
        return self.call(f"/deck/{deck}/loop/double", **options)

    def deck_loop_move(self, deck: Deck, beats: float, **options: Unpack[Timing]) -> R_co:
        """Move the loop by this many beats of the track's grid, together with the playhead in it.

        `/deck/{deck}/loop/move`, sent once.
        """
        return self.call(f"/deck/{deck}/loop/move", beats, **options)

    def deck_loop_exit(self, deck: Deck, **options: Unpack[Timing]) -> R_co:
        """Leave the loop: play past its end.

        `/deck/{deck}/loop/exit`, sent once.
        """
        return self.call(f"/deck/{deck}/loop/exit", **options)

    def deck_loop_reloop(self, deck: Deck, **options: Unpack[Timing]) -> R_co:
        """Re-enter the loop that was left last.

        `/deck/{deck}/loop/reloop`, sent once.
        """
        return self.call(f"/deck/{deck}/loop/reloop", **options)

    def record_start(self, path: str, *what: str, **options: Unpack[Timing]) -> R_co:
        """Record the master, or each of the named sources to a file of its own.

        `/record/start`, sent once.
        """
        return self.call("/record/start", path, *what, **options)

    def record_stop(self, **options: Unpack[Timing]) -> R_co:
        """Stop recording.

        `/record/stop`, sent once.
        """
        return self.call("/record/stop", **options)

    def broadcast_start(
        self,
        url: str,
        format: str = "",
        bitrate: int = 0,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Send the master to a server, a folder or a pipe, and connect again whenever that fails.

        `/broadcast/start`, sent once.
        """
        return self.call("/broadcast/start", url, *given((format, bitrate), ("", 0)), **options)

    def broadcast_stop(self, number: int = 0, **options: Unpack[Waiting]) -> R_co:
        """Stop a broadcast, or all.

        `/broadcast/stop`, sent once.
        """
        return self.call("/broadcast/stop", *given((number,), (0,)), **options)

    def broadcast_list(self, **options: Unpack[Waiting]) -> R_co:
        """List the broadcasts.

        `/broadcast/list`, sent again if lost.
        """
        return self.call("/broadcast/list", **options)

    def jack_ports(
        self,
        *groups: Literal["master", "cue", "music", "decks", "stems", "inputs"],
        **options: Unpack[Waiting],
    ) -> R_co:
        """Offer decks, stems, buses and inputs as separate ports of a JACK or PipeWire server.

        `/jack/ports`, sent once.
        """
        return self.call("/jack/ports", *groups, **options)

    def jack_transport(self, on: bool, **options: Unpack[Waiting]) -> R_co:
        """Follow the JACK transport: decks start and stop with it, and the clock takes its tempo.

        `/jack/transport`, sent once.
        """
        return self.call("/jack/transport", on, **options)

    def lights_add(self, target: str, **options: Unpack[Waiting]) -> R_co:
        """Send beats, sections, energy and levels to a lighting program or DMX receiver.

        `/lights/add`, sent once.
        """
        return self.call("/lights/add", target, **options)

    def lights_remove(self, target: str = "", **options: Unpack[Waiting]) -> R_co:
        """Stop sending to a target.

        `/lights/remove`, sent once.
        """
        return self.call("/lights/remove", *given((target,), ("",)), **options)

    def lights_lead(self, milliseconds: float, **options: Unpack[Waiting]) -> R_co:
        """Set how far ahead of the sound beats and levels are sent to lights.

        `/lights/lead`, sent once.
        """
        return self.call("/lights/lead", milliseconds, **options)

    def lights_list(self, **options: Unpack[Waiting]) -> R_co:
        """List the targets with their states (searching, sending, failed) and counters.

        `/lights/list`, sent again if lost.
        """
        return self.call("/lights/list", **options)

    def link_enable(self, on: bool = True, **options: Unpack[Waiting]) -> R_co:
        """Take part in an Ableton Link session, or leave it; see `--link`.

        `/link/enable`, sent once.
        """
        return self.call("/link/enable", *given((on,), (True,)), **options)

    def link_mode(
        self,
        mode: Literal["follower", "leader", "peer"],
        **options: Unpack[Waiting],
    ) -> R_co:
        """Choose between following and leading the session.

        `/link/mode`, sent once.
        """
        return self.call("/link/mode", mode, **options)

    def link_startstop(self, on: bool, decks: str = "ABCD", **options: Unpack[Waiting]) -> R_co:
        """Share starts and stops with the session.

        `/link/startstop`, sent once.
        """
        return self.call("/link/startstop", on, *given((decks,), ("ABCD",)), **options)

    def link_offset(self, offset: float, **options: Unpack[Waiting]) -> R_co:
        """Correct the output latency that the device reports, for Link only.

        `/link/offset`, sent once.
        """
        return self.call("/link/offset", offset, **options)

    def link_status(self, **options: Unpack[Waiting]) -> R_co:
        """Query what Ableton Link does; the states are described with the `/status`.

        `/link/status`, sent again if lost.
        """
        return self.call("/link/status", **options)

    def midi_clock(self, port: str = "", **options: Unpack[Waiting]) -> R_co:
        """Send MIDI clock, start, stop and song position to a port.

        `/midi/clock`, sent once.
        """
        return self.call("/midi/clock", *given((port,), ("",)), **options)

    def midi_follow(self, port: str = "", **options: Unpack[Waiting]) -> R_co:
        """Follow the MIDI clock that a port receives: its tempo, and after a start its beats.

        `/midi/follow`, sent once.
        """
        return self.call("/midi/follow", *given((port,), ("",)), **options)

    def midi_map_add(self, mapping: str, **options: Unpack[Waiting]) -> R_co:
        """Use a controller's mapping, or read its file again.

        `/midi/map/add`, sent once.
        """
        return self.call("/midi/map/add", mapping, **options)

    def midi_map_remove(self, mapping: str, **options: Unpack[Waiting]) -> R_co:
        """Stop using a mapping.

        `/midi/map/remove`, sent once.
        """
        return self.call("/midi/map/remove", mapping, **options)

    def midi_learn(self, address: str, *arguments: Value, **options: Unpack[Waiting]) -> R_co:
        """Map the next control that is moved or pressed on any MIDI device to a command.

        `/midi/learn`, sent once.
        """
        return self.call("/midi/learn", address, *arguments, **options)

    def midi_learn_cancel(self, **options: Unpack[Waiting]) -> R_co:
        """Stop waiting for a control.

        `/midi/learn/cancel`, sent once.
        """
        return self.call("/midi/learn/cancel", **options)

    def midi_attach(self, port: str, **options: Unpack[Waiting]) -> R_co:
        """Use a controller of another machine, as pages do by WebMIDI: its LEDs are in the state
        view.

        `/midi/attach`, sent once.
        """
        return self.call("/midi/attach", port, **options)

    def midi_message(
        self,
        port: str,
        status: int,
        number: int,
        value: int,
        **options: Unpack[Waiting],
    ) -> R_co:
        """Handle a message of a controller of another machine, with the mapping of its port.

        `/midi/message`, sent once.
        """
        return self.call("/midi/message", port, status, number, value, **options)

    def midi_list(self, **options: Unpack[Waiting]) -> R_co:
        """List the ports in use: the clock, the followed clock, and controllers.

        `/midi/list`, sent again if lost.
        """
        return self.call("/midi/list", **options)

    def rooms_role(
        self,
        role: Literal["off", "leader", "follower"],
        address: str = "",
        **options: Unpack[Waiting],
    ) -> R_co:
        """Lead other rooms, follow the leader at an address, or play alone; see `--rooms`.

        `/rooms/role`, sent once.
        """
        return self.call("/rooms/role", role, *given((address,), ("",)), **options)

    def rooms_lead(self, milliseconds: float, **options: Unpack[Waiting]) -> R_co:
        """Set how much later a leader's commands act, in all rooms, than they arrive.

        `/rooms/lead`, sent once.
        """
        return self.call("/rooms/lead", milliseconds, **options)

    def rooms_status(self, **options: Unpack[Waiting]) -> R_co:
        """Query whether the rooms are in step; the states are described with the `/status`.

        `/rooms/status`, sent again if lost.
        """
        return self.call("/rooms/status", **options)

    def schedule_override(
        self,
        state: Literal["open", "closed", "auto"],
        **options: Unpack[Waiting],
    ) -> R_co:
        """Open or close until the next change of the schedule.

        `/schedule/override`, sent again if lost.
        """
        return self.call("/schedule/override", state, **options)

    def schedule_reload(self, **options: Unpack[Waiting]) -> R_co:
        """Read the schedule's file again.

        `/schedule/reload`, sent once.
        """
        return self.call("/schedule/reload", **options)

    def cancel(self, *what: str, **options: Unpack[Waiting]) -> R_co:
        """Cancel messages that are scheduled for a time or a beat.

        `/cancel`, sent once.
        """
        return self.call("/cancel", *what, **options)

    def cancel_number(self, number: int, **options: Unpack[Waiting]) -> R_co:
        """Cancel one bundle, or one message that is scheduled for a beat.

        `/cancel/number`, sent once.
        """
        return self.call("/cancel/number", number, **options)

    def buffer_size(self, frames: int, **options: Unpack[Waiting]) -> R_co:
        """Change the buffer size during playback.

        `/buffer_size`, sent once.
        """
        return self.call("/buffer_size", frames, **options)

    def settings_reload(self, **options: Unpack[Waiting]) -> R_co:
        """Read the settings again, and apply what has changed while the music plays.

        `/settings/reload`, sent once.
        """
        return self.call("/settings/reload", **options)

    def quality(self, level: int | Literal["auto"], **options: Unpack[Timing]) -> R_co:
        """Hold a quality level, or let it follow the CPU load.

        `/quality`, sent again if lost.
        """
        return self.call("/quality", level, **options)

    def deck_stem_eq_low(
        self,
        deck: Deck,
        stem: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the low band of this stem's EQ; 0 kills it.

        `/deck/{deck}/stem/{stem}/eq/low`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/eq/low",
            gain,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_stem_eq_mid(
        self,
        deck: Deck,
        stem: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the mid band of this stem's EQ; 0 kills it.

        `/deck/{deck}/stem/{stem}/eq/mid`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/eq/mid",
            gain,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_stem_eq_high(
        self,
        deck: Deck,
        stem: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain of the high band of this stem's EQ; 0 kills it.

        `/deck/{deck}/stem/{stem}/eq/high`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/eq/high",
            gain,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_stem_eq(
        self,
        deck: Deck,
        stem: int,
        low: float,
        mid: float,
        high: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the three bands of this stem's EQ in dB.

        `/deck/{deck}/stem/{stem}/eq`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/eq",
            low,
            mid,
            high,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_stem_filter(
        self,
        deck: Deck,
        stem: int,
        knob: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Turn this stem's filter: low-pass to the left, high-pass to the right.

        `/deck/{deck}/stem/{stem}/filter`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/filter",
            knob,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_stem_filter_resonance(
        self,
        deck: Deck,
        stem: int,
        amount: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the resonance of this stem's filter at its cutoff.

        `/deck/{deck}/stem/{stem}/filter/resonance`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/filter/resonance",
            amount,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_stem_mute(self, deck: Deck, stem: int, on: bool, **options: Unpack[Timing]) -> R_co:
        """Mute this stem, or unmute it at its present gain.

        `/deck/{deck}/stem/{stem}/mute`, sent once.
        """
        return self.call(f"/deck/{deck}/stem/{stem}/mute", on, **options)

    def deck_stem_solo(self, deck: Deck, stem: int, on: bool, **options: Unpack[Timing]) -> R_co:
        """Solo this stem: only soloed stems of the track that are not muted are audible.

        `/deck/{deck}/stem/{stem}/solo`, sent once.
        """
        return self.call(f"/deck/{deck}/stem/{stem}/solo", on, **options)

    def deck_stem_pfl(
        self,
        deck: Deck,
        stem: int,
        gain: float = 1.0,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Send this stem to the cue bus: pre-fader listening (PFL), after the stem's filter.

        `/deck/{deck}/stem/{stem}/pfl`, sent once.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/pfl",
            *given((gain, seconds), (1.0, 0.02)),
            **options,
        )

    def deck_stem_send(
        self,
        deck: Deck,
        stem: int,
        bus: int,
        gain: float,
        seconds: float = 0.02,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set the gain with which this stem feeds a send bus (post-gain).

        `/deck/{deck}/stem/{stem}/send`, sent again if lost.
        """
        return self.call(
            f"/deck/{deck}/stem/{stem}/send",
            bus,
            gain,
            *given((seconds,), (0.02,)),
            **options,
        )

    def deck_seek_fraction(self, deck: Deck, fraction: float, **options: Unpack[Timing]) -> R_co:
        """Jump to a position in the track.

        `/deck/{deck}/seek/fraction`, sent once.
        """
        return self.call(f"/deck/{deck}/seek/fraction", fraction, **options)

    def deck_seek_beat(self, deck: Deck, beat: float, **options: Unpack[Timing]) -> R_co:
        """Jump to a beat of the track's grid.

        `/deck/{deck}/seek/beat`, sent once.
        """
        return self.call(f"/deck/{deck}/seek/beat", beat, **options)

    def deck_jump(self, deck: Deck, beats: float, **options: Unpack[Timing]) -> R_co:
        """Jump by this many beats of the track's grid from the playhead's position.

        `/deck/{deck}/jump`, sent once.
        """
        return self.call(f"/deck/{deck}/jump", beats, **options)

    def deck_hotcue_set(
        self,
        deck: Deck,
        number: int,
        seconds: float | None = None,
        **options: Unpack[Timing],
    ) -> R_co:
        """Set a hot cue of the deck's track.

        `/deck/{deck}/hotcue/set`, sent once.
        """
        return self.call(f"/deck/{deck}/hotcue/set", number, *given((seconds,), (None,)), **options)

    def deck_hotcue(self, deck: Deck, number: int, **options: Unpack[Timing]) -> R_co:
        """Jump to a hot cue.

        `/deck/{deck}/hotcue`, sent once.
        """
        return self.call(f"/deck/{deck}/hotcue", number, **options)

    def deck_hotcue_clear(self, deck: Deck, number: int, **options: Unpack[Waiting]) -> R_co:
        """Delete a hot cue.

        `/deck/{deck}/hotcue/clear`, sent once.
        """
        return self.call(f"/deck/{deck}/hotcue/clear", number, **options)

    def deck_slip(self, deck: Deck, on: bool, **options: Unpack[Timing]) -> R_co:
        """Switch slip mode on or off.

        `/deck/{deck}/slip`, sent again if lost.
        """
        return self.call(f"/deck/{deck}/slip", on, **options)

    def deck_reverse(self, deck: Deck, on: bool, **options: Unpack[Timing]) -> R_co:
        """Play the deck's track backwards, or forwards again.

        `/deck/{deck}/reverse`, sent once.
        """
        return self.call(f"/deck/{deck}/reverse", on, **options)

    def deck_brake(
        self,
        deck: Deck,
        seconds: float = 1.0,
        stop: bool = True,
        **options: Unpack[Timing],
    ) -> R_co:
        """Slow the deck's track, with its pitch, to a standstill, as a turntable switched off.

        `/deck/{deck}/brake`, sent once.
        """
        return self.call(f"/deck/{deck}/brake", *given((seconds, stop), (1.0, True)), **options)

    def deck_softstart(self, deck: Deck, seconds: float = 1.0, **options: Unpack[Timing]) -> R_co:
        """Bring the deck's track up to speed from a standstill or brake.

        `/deck/{deck}/softstart`, sent once.
        """
        return self.call(f"/deck/{deck}/softstart", *given((seconds,), (1.0,)), **options)
