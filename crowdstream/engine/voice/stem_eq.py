"""EQ and one-knob filter of single stems, before their gains: four stems processed side by side.

These are the decks' filters, applied to a stem's tape. The tape runs at the file's own rate, so
their frequencies scale with the playback rate as the sound itself does: at rate 1.06 they are 6 %
higher. (With keylock they stay in place.) A flat stem is left untouched. A stem that starts with a
setting is filtered from its first frame on.
"""

from __future__ import annotations

from crowdstream.desk.constants import (
    BANDS,
    EQ_SECTIONS,
    LANES,
    SEGMENT,
    STEM_GROUP,
    STEM_GROUPS,
    STEM_PAST,
    STEMS,
)
from crowdstream.desk.dtypes import FILTER
from crowdstream.desk.layout import REGIONS
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_EQ, VOICE_FILTER, VOICE_RESONANCE, VOICE_ROWS
from crowdstream.engine.dsp.equalizer import (
    WARM_UP_FRAMES,
    blend,
    curve_rows,
    is_flat,
    prepare,
    run_equalizer,
)
from crowdstream.engine.dsp.filter import filter_pairs
from crowdstream.engine.dsp.ramps import set_ramp
from crowdstream.engine.jit import views
from crowdstream.engine.jit.compile import kernel

RING_FRAMES = 8192  # tape frames after a file's end over which ringing filters are faded to silence

_LANES = REGIONS["stem_lanes"].offset
_STATE = REGIONS["stem_eq"].offset
_STATE_BYTES = 4 * EQ_SECTIONS * 2 * LANES
_UNIT = REGIONS["stem_filter"].offset
_UNIT_BYTES = FILTER.itemsize


@kernel
def _eq_row(slot, stem):
    return RAMP_VOICE + VOICE_ROWS * slot + VOICE_EQ + BANDS * stem


@kernel
def _knob_row(slot, stem):
    return RAMP_VOICE + VOICE_ROWS * slot + VOICE_FILTER + stem


@kernel
def _eq_active(address, slot, stem):
    use = views.stem_eq_use(address)[slot, stem]
    return use.eq_state == 1 or not is_flat(address, _eq_row(slot, stem))


@kernel
def _filter_active(address, slot, stem):
    # Whether the filter is in use for the stem, or one of its two knobs is moving.
    unit = views.stem_filter(address)[slot, stem // STEM_GROUP]
    ramps = views.ramps(address)
    row = _knob_row(slot, stem)
    knob = ramps[row]
    resonance = ramps[row + VOICE_RESONANCE - VOICE_FILTER]
    moving = knob.left > 0 or resonance.left > 0
    return moving or knob.value != 0.0 or unit.used[stem % STEM_GROUP] == 1


@kernel
def _filtered(address, slot, stem):
    return _eq_active(address, slot, stem) or _filter_active(address, slot, stem)


@kernel
def ring_frames(address, slot):
    """Return for how many tape frames after its end a voice may still ring."""
    frames = 0
    for stem in range(views.voices(address)[slot].stems):
        if _filtered(address, slot, stem):
            frames = RING_FRAMES
    return frames


@kernel
def _fade_ring(voice, left, right, done, count):
    # After the end: fade out by position on the tape, so that the voice can be released.
    if voice.ended < 0:
        return
    for i in range(max(done, voice.ended - voice.fed), done + count):
        share = views.F32(max(0.0, 1.0 - (voice.fed + i - voice.ended) / RING_FRAMES))
        left[STEM_PAST + i] *= share
        right[STEM_PAST + i] *= share


@kernel
def _equalize_group(address, slot, group, count, begins):
    # Run the EQ over the lanes of one group of stems.
    voice = views.voices(address)[slot]
    lanes = views.stem_lanes(address)
    state = views.stem_eq(address)[slot, group]
    uses = views.stem_eq_use(address)[slot]
    first = STEM_GROUP * group
    last = min(first + STEM_GROUP, voice.stems)
    used = False
    rows = 1
    for stem in range(first, last):
        rows = max(rows, curve_rows(address, _eq_row(slot, stem), count))
    for stem in range(first, last):
        use = uses[stem]
        row = _eq_row(slot, stem)
        if prepare(address, use, state, row, 2 * (stem - first), count, rows):
            used = True
            if begins:  # there is no earlier sound to crossfade from
                use.eq_warm = WARM_UP_FRAMES
                use.eq_mix = 1.0
    if not used:
        return
    place = address + _STATE + _STATE_BYTES * (STEM_GROUPS * slot + group)
    run_equalizer(address, address + _LANES, place, count, rows)
    for stem in range(first, last):
        if uses[stem].eq_state == 1:
            blend(uses[stem], lanes, views.wet(address), 2 * (stem - first), count)


@kernel
def _begin_filter(address, slot, group):
    # As in the EQ: if the knob is off centre when the sound starts, there is nothing to crossfade
    # from.
    unit = views.stem_filter(address)[slot, group]
    ramps = views.ramps(address)
    for pair in range(STEM_GROUP):
        if ramps[_knob_row(slot, STEM_GROUP * group + pair)].value != 0.0:
            unit.used[pair] = 1
            unit.mix[pair] = 1.0
            for section in range(4):
                unit.state[section, 2 * pair] = 0.0
                unit.state[section, 2 * pair + 1] = 0.0


@kernel
def _filter_group(address, slot, group, done, count):
    # Filter `count` frames (at most a segment) of one group's stems, from new frame `done` on.
    voice = views.voices(address)[slot]
    tape = views.stem_tape(address)
    lanes = views.stem_lanes(address)
    begins = voice.fed == 0 and done == 0
    first = STEM_GROUP * group
    last = min(first + STEM_GROUP, voice.stems)
    filtered = 0
    turned = False
    for stem in range(first, last):
        turned = turned or _filter_active(address, slot, stem)
        if _filtered(address, slot, stem):
            filtered |= 1 << stem
            column = 2 * (stem - first)
            for i in range(count):
                lanes[i, column] = tape[stem, 0, STEM_PAST + done + i]
                lanes[i, column + 1] = tape[stem, 1, STEM_PAST + done + i]
    _equalize_group(address, slot, group, count, begins)
    if turned:
        if begins:
            _begin_filter(address, slot, group)
        unit = address + _UNIT + _UNIT_BYTES * (STEM_GROUPS * slot + group)
        row = _knob_row(slot, first)
        resonances = row + VOICE_RESONANCE - VOICE_FILTER
        filter_pairs(address, address + _LANES, unit, row, resonances, count)
    for stem in range(first, last):
        if filtered >> stem & 1:
            column = 2 * (stem - first)
            left, right = tape[stem, 0], tape[stem, 1]
            for i in range(count):
                left[STEM_PAST + done + i] = lanes[i, column]
                right[STEM_PAST + done + i] = lanes[i, column + 1]
            _fade_ring(voice, left, right, done, count)


@kernel
def filter_stems(address, slot, count):
    """Filter `count` new frames of a voice's stems in place, where they are not flat."""
    voice = views.voices(address)[slot]
    for group in range(STEM_GROUPS):
        done = 0
        while done < count:
            used = False
            for stem in range(STEM_GROUP * group, min(STEM_GROUP * (group + 1), voice.stems)):
                used = used or _filtered(address, slot, stem)
            if not used:
                break
            some = min(count - done, SEGMENT)
            _filter_group(address, slot, group, done, some)
            done += some


@kernel
def copy_filters(address, target, slot):
    """Copy the filter state of a voice to that of slot `target`."""
    uses = views.stem_eq_use(address)
    states = views.stem_eq(address)
    units = views.stem_filter(address)
    for stem in range(STEMS):
        uses[target, stem] = uses[slot, stem]
    for group in range(STEM_GROUPS):
        units[target, group] = units[slot, group]
        for section in range(EQ_SECTIONS):
            for part in range(2):
                for lane in range(LANES):
                    states[target, group, section, part, lane] = states[
                        slot, group, section, part, lane
                    ]


@kernel
def reset_filters(address, slot):
    """Reset EQ and filter of a voice that starts: every stem flat, no filter state."""
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot
    for stem in range(STEMS):
        for band in range(BANDS):
            set_ramp(ramps[_eq_row(slot, stem) + band], 1.0, 0)
        set_ramp(ramps[base + VOICE_FILTER + stem], 0.0, 0)
        set_ramp(ramps[base + VOICE_RESONANCE + stem], 0.0, 0)
        views.stem_eq_use(address)[slot, stem].eq_state = 0
        views.stem_filter(address)[slot, stem // STEM_GROUP].used[stem % STEM_GROUP] = 0
