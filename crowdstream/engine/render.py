"""`render`: the next frames of the mix, as a function of the desk alone.

Live playback, offline rendering and failover all use this function.
"""

from __future__ import annotations

import numpy as np
from numba import types

from crowdstream.desk.block import Desk
from crowdstream.desk.constants import (
    DECKS,
    LANES,
    MAX_RATE,
    MIN_RATE,
    SEGMENT,
    SLOTS,
    TAP_MARGIN,
    TURN,
    VOICES,
)
from crowdstream.desk.opcodes import (
    EV_MARK,
    FREE,
    OP_CANCEL,
    OP_CLOCK,
    OP_EFFECT,
    OP_EFFECT_MOVE,
    OP_GRID,
    OP_JUMP,
    OP_KEYLOCK,
    OP_LOOKAHEAD,
    OP_LOOP,
    OP_MARK,
    OP_QUALITY,
    OP_RAMP,
    OP_REVERSE,
    OP_SEEK,
    OP_SETTLE,
    OP_SLIP,
    OP_SPIN,
    OP_START,
    OP_STOP,
    OP_STOP_ALL,
    OP_SYNC,
    OP_TALKOVER,
    OP_TONE,
)
from crowdstream.desk.ramps import (
    RAMP_VOICE,
    VOICE_KEYLOCK,
    VOICE_PITCH,
    VOICE_RATE,
    VOICE_ROWS,
    VOICE_STEM,
)
from crowdstream.engine.dsp.equalizer import equalize, equalize_inputs
from crowdstream.engine.dsp.filter import filter_decks, filter_inputs
from crowdstream.engine.dsp.limiter import set_lookahead
from crowdstream.engine.dsp.ramps import set_ramp
from crowdstream.engine.effects.chain import (
    change_chain,
    move_effect,
    run_strip_chains,
    update_effects,
)
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import flush_denormals, restore_control
from crowdstream.engine.jit.compile import entry, kernel
from crowdstream.engine.mixer.buses import clear_players, mix_down
from crowdstream.engine.mixer.cue import add_pfl_decks, add_pfl_inputs, finish_cue
from crowdstream.engine.mixer.fader import move_crossfader, trim_decks, trim_inputs
from crowdstream.engine.mixer.inputs import (
    any_input,
    play_inputs,
    set_talkover,
    steer_inputs,
)
from crowdstream.engine.mixer.master import finish, start_tone, stop_tone
from crowdstream.engine.mixer.meters import meter_outputs, meter_sources
from crowdstream.engine.mixer.steering import STEER_PASS, begin_pass, end_pass, fill_line
from crowdstream.engine.schedule.beat_clock import beat_at, fill_tempo, grid_at, set_clock
from crowdstream.engine.schedule.command_heap import (
    cancel,
    next_frame,
    pop_next,
    receive_commands,
    reschedule_beats,
)
from crowdstream.engine.schedule.events import push_event
from crowdstream.engine.schedule.load_shedding import apply_quality, hold_quality
from crowdstream.engine.taps import tap_outputs, tap_sources
from crowdstream.engine.undo_log import begin_turn, end_turn
from crowdstream.engine.voice.keylock import switch_keylock
from crowdstream.engine.voice.playhead import (
    finish_spin,
    grid_voice,
    jump_voice,
    loop_voice,
    realign_voices,
    reverse_voice,
    seek_voice,
    slip_voice,
    spin_voice,
    sync_voice,
)
from crowdstream.engine.voice.stem_routing import clear_outputs
from crowdstream.engine.voice.sync import track_beat
from crowdstream.engine.voice.voice import render_voice, start_voice, stop_voice


@kernel
def _tape_rate(address, slot, frame):
    # Tape frames per frame of a voice, once tempo and pitch have reached their targets.
    voice = views.voices(address)[slot]
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    clock = views.clock(address)[0]
    if voice.synced:
        beat = track_beat(address, voice, frame)
        _point, _at, frames, _begin, _end = grid_at(address, voice.grid, beat)
        rate = voice.sync_ratio * clock.tempo_end * frames
    else:
        tempo = clock.tempo_end / clock.tempo_base if voice.deck < DECKS else 1.0
        rate = max(ramps[base + VOICE_RATE].value * tempo, MIN_RATE)
    rate = min(rate, MAX_RATE)
    if voice.direction > 0:  # with keylock, the tape moves at the pitch
        share = ramps[base + VOICE_KEYLOCK].target
        rate = min((rate + share * (1.0 - rate)) * ramps[base + VOICE_PITCH].target, MAX_RATE)
    return rate


@kernel
def _ramp_frames(address, row, frames, frame):
    # A stem's parameters move along the tape, so their ramps are counted in file frames.
    if row < RAMP_VOICE or (row - RAMP_VOICE) % VOICE_ROWS < VOICE_STEM:
        return frames
    slot = (row - RAMP_VOICE) // VOICE_ROWS
    if views.voices(address)[slot].state == FREE:
        return 0
    return max(1, int(frames * _tape_rate(address, slot, frame)))


@kernel
def _apply(address, index, frame):
    command = views.pending(address)[index]
    op = command.op
    if op == OP_RAMP:
        frames = _ramp_frames(address, command.index, int(command.y), frame)
        set_ramp(views.ramps(address)[command.index], command.x, frames)
    elif op == OP_START:
        start_voice(address, command, frame)
    elif op == OP_STOP:
        stop_voice(address, command.target)
    elif op == OP_SEEK:
        seek_voice(address, command, frame)
    elif op == OP_CLOCK:
        before = beat_at(address, frame)
        set_clock(address, command)
        realign_voices(address, before, frame)
        reschedule_beats(address, frame)
    elif op == OP_SYNC:
        sync_voice(address, command, frame)
    elif op == OP_LOOP:
        loop_voice(address, command, frame)
    elif op == OP_JUMP:
        jump_voice(address, command, frame)
    elif op == OP_SLIP:
        slip_voice(address, command, frame)
    elif op == OP_REVERSE:
        reverse_voice(address, command, frame)
    elif op == OP_SPIN:
        spin_voice(address, command, frame)
    elif op == OP_SETTLE:
        if finish_spin(address, command.target, frame):
            stop_voice(address, command.target)
    elif op == OP_GRID:
        grid_voice(address, command, frame)
    elif op == OP_KEYLOCK:
        switch_keylock(address, command.target, command.index)
    elif op == OP_TONE:
        start_tone(address, command.x, command.y, command.start)
    elif op == OP_STOP_ALL:
        for slot in range(VOICES):
            stop_voice(address, slot)
        stop_tone(address)
    elif op == OP_CANCEL:
        cancel(address, command.target, views.order(address)[index])
    elif op == OP_EFFECT:
        change_chain(address, command)
    elif op == OP_EFFECT_MOVE:
        move_effect(address, command)
    elif op == OP_LOOKAHEAD:
        set_lookahead(address, int(command.x))
    elif op == OP_QUALITY:
        hold_quality(address, command.index, frame)
    elif op == OP_TALKOVER:
        set_talkover(address, command)
    elif op == OP_MARK:
        push_event(address, EV_MARK, command.target, command.serial, frame, command.frame, 0.0)


@kernel
def _segment(address, out, at, count, frame):
    lanes = views.lanes(address)
    for i in range(count):
        for lane in range(LANES):
            lanes[i, lane] = 0.0
    clear_outputs(address, count)
    tempo_moving = fill_tempo(address, frame, count)
    all_voices = views.voices(address)
    players = 0
    for slot in range(SLOTS):
        if all_voices[slot].state != FREE and all_voices[slot].deck >= DECKS:
            players |= 1 << all_voices[slot].deck
    if players:
        clear_players(address, count)
    for slot in range(SLOTS):
        if all_voices[slot].state != FREE:
            render_voice(address, slot, count, frame, tempo_moving)
    trim_decks(address, count)
    equalize(address, count)
    filter_decks(address, count)
    inputs = any_input(address)
    if inputs:
        play_inputs(address, frame, count)
        trim_inputs(address, count)
        equalize_inputs(address, count)
        filter_inputs(address, count)
    run_strip_chains(address, inputs, frame, count)
    tap_sources(address, inputs, count, frame)
    meter_sources(address, count, frame)
    move_crossfader(address, count)
    add_pfl_decks(address, count)
    if inputs:
        add_pfl_inputs(address, count)
    mix_down(address, players, inputs, count, frame)
    finish_cue(address, at, count)
    finish(address, out, at, count)
    tap_outputs(address, out, at, count, frame)
    meter_outputs(address, inputs, out, at, count, frame)


@kernel
def _turn(address, out, at, frames):
    # Render `frames` frames of the block, from its frame `at` on; return the frame after them.
    frame = views.clock(address)[0].frame
    apply_quality(address, frame)
    receive_commands(address, frame)
    steer_inputs(address, frame)
    done = 0
    while done < frames:
        due = next_frame(address)
        while due <= frame:
            _apply(address, pop_next(address), frame)
            due = next_frame(address)
        count = min(frames - done, SEGMENT, due - frame, update_effects(address, frame))
        _segment(address, out, at + done, count, frame)
        done += count
        frame += count
    views.ledger(address)[0].frames += frames
    return frame


@kernel
def _whole_turn(address, out, at, frames, last):
    # A turn that can be repeated by another engine; `last`: it completes a block.
    begin_turn(address)
    frame = _turn(address, out, at, frames)
    if last:
        views.ledger(address)[0].blocks += 1
    end_turn(address, frame)


@kernel
def _render_steered(address, out, frames):
    # Resample the mix to the device's clock. Returns the number of frames: fewer than `frames` if
    # the steering was switched off and its line has ended.
    mix = views.float32_samples(address + views.STEER_MIX_AT - 4 * 2 * TAP_MARGIN)
    done = 0
    while done < frames:
        some = min(frames - done, STEER_PASS)
        missing = begin_pass(address, some)
        if missing > 0:
            # Behind the block's own cue bus, which the passes before have filled already.
            _whole_turn(address, mix, TAP_MARGIN, missing, done + some == frames)
            fill_line(address, missing)
        elif done + some == frames:
            views.ledger(address)[0].blocks += 1
        some = end_pass(address, out, done, some)
        done += some
        if views.steering(address)[0].engaged == 0:
            break
    return done


@entry(types.void(types.int64, types.int64, types.int64))
def render_at(address, out_address, frames):
    """Render `frames` frames to interleaved float32 stereo at `out_address`, for the callback.

    `address`: of the desk.
    """
    control = flush_denormals()
    out = views.float32_samples(out_address)
    steering = views.steering(address)[0]
    done = 0
    if steering.on or steering.engaged:
        done = _render_steered(address, out, frames)
    while done < frames:
        some = min(frames - done, TURN)
        _whole_turn(address, out, done, some, done + some == frames)
        done += some
    steering.out += frames
    restore_control(control)


def render(desk: Desk, out: np.ndarray) -> None:
    """Write the next `len(out)` frames of the mix to `out` and advance the playheads.

    `out`: float32, C-contiguous, shape `(frames, 2)`, linear samples. It may have any length from
    1 frame up; the division of time into blocks does not change a bit of the output. Commands
    published before the call take effect at their frames. Only one process may render a desk at a
    time.
    """
    render_at(desk.address, out.ctypes.data, len(out))
