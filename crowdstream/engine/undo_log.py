"""The undo log: a turn is rendered completely or not at all, even if the engine is killed.

Before a turn of at most `TURN` frames, everything it is going to change is copied. If an engine
dies in mid-turn, its successor restores the saved state and renders the turn again, from the same
commands and with the same result. The results visible to other processes (the frame reached,
commands taken, events, taps) are published at the end of the turn, from numbers recorded
beforehand: if an engine dies while publishing, its successor publishes them again.

State that is reproduced by rendering again is not copied: scratch memory; rings that are longer
than their readers need by at least a turn (delay lines, taps); slots that were free and are
initialized by the command that starts them.
"""

from __future__ import annotations

from numba import types

from crowdstream.desk.constants import (
    DELAY_FRAMES,
    HISTORY,
    PEAK_TAPS,
    PENDING,
    SLOTS,
    STEM_PAST,
    STEMS,
    TAPE_PAIRS,
    TAPS,
    UNDO_ENTRIES,
    UNDO_WORDS,
)
from crowdstream.desk.dtypes import CLOCK, UNDO_LOG
from crowdstream.desk.effects import EFFECTS, IDLE, ROWS
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.opcodes import FREE, WORK_IDLE, WORK_PUBLISHES, WORK_RENDERS
from crowdstream.desk.ramps import RAMP_EFFECT, RAMP_VOICE, VOICE_ROWS
from crowdstream.desk.rings import COMMAND_TAIL, EVENT_HEAD
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import fence, load_acquire, store_release
from crowdstream.engine.jit.compile import entry, kernel
from crowdstream.engine.schedule.command_heap import restore_heap
from crowdstream.engine.taps import publish_taps
from crowdstream.engine.voice.stem_routing import in_use

_CLOCK_FIELDS, _UNDO_LOG_FIELDS = CLOCK.fields, UNDO_LOG.fields
assert _CLOCK_FIELDS is not None and _UNDO_LOG_FIELDS is not None
_FRAME = REGIONS["clock"].offset + _CLOCK_FIELDS["frame"][1]
_EPOCH = REGIONS["clock"].offset + _CLOCK_FIELDS["epoch"][1]
_STAMP = REGIONS["clock"].offset + _CLOCK_FIELDS["stamp"][1]
_STATE = REGIONS["undo_log"].offset + _UNDO_LOG_FIELDS["state"][1]


def _piece(name: str) -> tuple[int, int]:
    # Offset of a region, and its size in words.
    region = REGIONS[name]
    words = region.dtype.itemsize // 4
    for length in region.shape:
        words *= length
    return region.offset, words


def _row(name: str) -> tuple[int, int, int]:
    # Offset of a region, bytes from one of its rows to the next, and words per row.
    offset, words = _piece(name)
    words //= REGIONS[name].shape[0]
    return offset, 4 * words, words


WHOLE = tuple(
    _piece(name)
    for name in (
        "clock", "ledger", "master", "decks", "eq", "eq_use", "filter", "limiter", "meters",
        "chains", "quality", "inputs", "input_clock", "input_eq", "input_eq_use",
        "input_filter",
    )
)  # fmt: skip
_RAMPS, _RAMP_BYTES, _RAMP_WORDS = _row("ramps")
_VOICES, _VOICE_BYTES, _VOICE_WORDS = _row("voices")
_HISTORY, _HISTORY_BYTES, _ = _row("history")
_PAIR_WORDS = 2 * HISTORY
_PAST, _PAST_BYTES, _ = _row("stem_past")
_STEM_WORDS = 2 * STEM_PAST
_STEM_EQ, _STEM_EQ_BYTES, _STEM_EQ_WORDS = _row("stem_eq")
_STEM_USE, _STEM_USE_BYTES, _STEM_USE_WORDS = _row("stem_eq_use")
_STEM_FILTER, _STEM_FILTER_BYTES, _STEM_FILTER_WORDS = _row("stem_filter")
_EFFECTS, _EFFECT_BYTES, _EFFECT_WORDS = _row("effects")
_REGISTERS, _REGISTER_BYTES, _REGISTER_WORDS = _row("effect_registers")
_MEMORY, _MEMORY_BYTES, _ = _row("effect_memory")
_PEAKS, _PEAK_BYTES, _ = _row("peak_line")
_HEAP = REGIONS["heap"].offset
_LOWS, _PLACES = REGIONS["limiter_lows"].offset, REGIONS["limiter_places"].offset


@kernel
def _copy(to, source, words):
    a = views.words(to)
    b = views.words(source)
    for i in range(words):
        a[i] = b[i]


@kernel
def _save(address, offset, words):
    # Save `words` words from `offset` on, for `recover` to restore.
    undo_log = views.undo_log(address)[0]
    if undo_log.entries >= UNDO_ENTRIES or undo_log.words + words > UNDO_WORDS:
        return
    piece = views.undo_pieces(address)[undo_log.entries]
    piece[0] = offset
    piece[1] = words
    _copy(address + views.UNDO_AT + 4 * undo_log.words, address + offset, words)
    undo_log.entries += 1
    undo_log.words += words


@kernel
def _save_voice(address, slot):
    voice = views.voices(address)[slot]
    _save(address, _VOICES + _VOICE_BYTES * slot, _VOICE_WORDS)
    rows = _RAMPS + _RAMP_BYTES * (RAMP_VOICE + VOICE_ROWS * slot)
    _save(address, rows, _RAMP_WORDS * VOICE_ROWS)
    for pair in range(TAPE_PAIRS):
        if in_use(voice, pair):
            _save(address, _HISTORY + _HISTORY_BYTES * slot + 4 * _PAIR_WORDS * pair, _PAIR_WORDS)
    _save(address, _PAST + _PAST_BYTES * slot, _STEM_WORDS * voice.stems)
    _save(address, _STEM_USE + _STEM_USE_BYTES * slot, _STEM_USE_WORDS)
    _save(address, _STEM_FILTER + _STEM_FILTER_BYTES * slot, _STEM_FILTER_WORDS)
    use = views.stem_eq_use(address)[slot]
    for stem in range(STEMS):
        if use[stem].eq_state != 0:
            _save(address, _STEM_EQ + _STEM_EQ_BYTES * slot, _STEM_EQ_WORDS)
            return


@kernel
def _save_effect(address, number):
    effect = views.effects(address)[number]
    _save(address, _EFFECTS + _EFFECT_BYTES * number, _EFFECT_WORDS)
    _save(address, _RAMPS + _RAMP_BYTES * (RAMP_EFFECT + ROWS * number), _RAMP_WORDS * ROWS)
    _save(address, _REGISTERS + _REGISTER_BYTES * number, _REGISTER_WORDS)
    if (effect.asleep == 0 or effect.state == IDLE) and effect.rewritten > 0:
        _save(address, _MEMORY + _MEMORY_BYTES * number + 4 * effect.rewrites_at, effect.rewritten)


@kernel
def save_new_effect(address, number):
    """Save an instance that is about to be linked into a chain in mid-turn.

    Idle instances are not saved before, because control may be preparing them.
    """
    if views.undo_log(address)[0].off == 0:
        _save_effect(address, number)
        fence()  # none of it may change before it is saved


@kernel
def _save_limiter(address):
    # The history of the peak detector, and the gains in the window of the sliding minimum.
    for row in range(2):
        _save(address, _PEAKS + _PEAK_BYTES * row, PEAK_TAPS - 1)
    state = views.limiter(address)[0]
    at = state.oldest
    while at < state.newest:
        place = at & (DELAY_FRAMES - 1)
        some = min(state.newest - at, DELAY_FRAMES - place)
        _save(address, _LOWS + 8 * place, 2 * some)
        _save(address, _PLACES + 8 * place, 2 * some)
        at += some


@kernel
def begin_turn(address):
    """Save everything that is about to change. From here to `end_turn` the desk can be restored."""
    undo_log = views.undo_log(address)[0]
    rings = views.rings(address)[0]
    undo_log.command_tail = rings.command_tail
    undo_log.event_head = rings.event_head
    if undo_log.off:
        return
    undo_log.entries = 0
    undo_log.words = 0
    for piece in WHOLE:
        _save(address, piece[0], piece[1])
    _save(address, _RAMPS, _RAMP_WORDS * RAMP_EFFECT)
    _save(address, _HEAP, views.master(address)[0].pending)
    _save_limiter(address)
    all_voices = views.voices(address)
    for slot in range(SLOTS):
        if all_voices[slot].state != FREE:
            _save_voice(address, slot)
    effects = views.effects(address)
    for number in range(EFFECTS):
        if effects[number].state != IDLE:
            _save_effect(address, number)
    store_release(address + _STATE, WORK_RENDERS)
    fence()  # no change may become visible before this state does


@kernel
def _publish(address):
    undo_log = views.undo_log(address)[0]
    store_release(address + COMMAND_TAIL, undo_log.command_tail)
    store_release(address + EVENT_HEAD, undo_log.event_head)
    publish_taps(address)
    store_release(address + _FRAME, undo_log.frame)
    store_release(address + _EPOCH, undo_log.epoch)
    store_release(address + _STATE, WORK_IDLE)


@kernel
def end_turn(address, frame):
    """Complete the turn and publish its results; the next turn begins with `frame`."""
    undo_log = views.undo_log(address)[0]
    undo_log.frame = frame
    undo_log.epoch = views.clock(address)[0].epoch + 1
    store_release(address + _STATE, WORK_PUBLISHES)
    fence()
    _publish(address)


@kernel
def _restore(address):
    undo_log = views.undo_log(address)[0]
    all_voices = views.voices(address)
    for slot in range(SLOTS):
        all_voices[slot].state = FREE  # sounding voices get their saved state back below
    now_ns = views.clock(address)[0].callback_ns
    at = 0
    pieces = views.undo_pieces(address)
    for i in range(undo_log.entries):
        _copy(address + pieces[i, 0], address + views.UNDO_AT + 4 * at, pieces[i, 1])
        at += pieces[i, 1]
    views.clock(address)[0].callback_ns = now_ns
    taps = views.taps(address)
    for tap in range(TAPS):
        taps[tap].next = taps[tap].head
    # Rebuild the list of free slots in the table of scheduled commands; its order does not matter.
    waits = views.waits(address)
    heap = views.heap(address)
    spare = views.spare(address)
    count = views.master(address)[0].pending
    for i in range(PENDING):
        waits[i] = 0
    for i in range(count):
        waits[heap[i]] = 1
    free = count
    for i in range(PENDING):
        if waits[i] == 0:
            spare[free] = i
            free += 1
    restore_heap(address)


@entry(types.void(types.int64))
def recover(address):
    """Make the desk consistent after an engine died, at whatever point.

    No other process may render the desk meanwhile.
    """
    state = views.undo_log(address)[0].state
    if state == WORK_RENDERS:
        _restore(address)
        store_release(address + _STATE, WORK_IDLE)
    elif state == WORK_PUBLISHES:
        _publish(address)
    stamp = load_acquire(address + _STAMP)
    if stamp & 1:
        store_release(address + _STAMP, stamp + 1)
