"""Read one stem of a voice from its pages: missing pages, crossfades and bad samples.

Each stem has its own stretch of tape, at unity gain: `STEM_PAST` frames of history, followed by
the new ones. Discontinuities (a missing page, the end of a file, loop ends that do not meet) are
smoothed here, so that all later stages see only stems times gains.
"""

from __future__ import annotations

import numpy as np

from crowdstream.desk.constants import STEM_PAST, STEMS
from crowdstream.desk.opcodes import CAUSE_PAGE, INT16
from crowdstream.desk.ramps import RAMP_VOICE, VOICE_PFL, VOICE_ROWS, VOICE_STEM
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire32
from crowdstream.engine.jit.compile import kernel
from crowdstream.engine.schedule.ledger import record_gap

RETURN_FRAMES = 64  # frames of a stem's fade-in after a missing page
OFFSET_DECAY = 0.985  # per frame: a step decays within about 5 ms
OFFSET_FLOOR = 1e-6
SEAM_RATIO = 4.0  # a seam this many times steeper than the signal before it is a click
SEAM_FLOOR = 0.01
SEAM_LOOKBACK = 8
MAX_SAMPLE = 1e4  # a sample beyond +80 dBFS is an error in the file

INT16_SCALE = 1.0 / 32768.0  # maps 16-bit full scale to 1

MISSING, OVER = -1, -2  # reason why a stem is silent
NEVER = 1 << 62


@kernel
def _put_frames(data, scale, channels, first, step, count, left, right):
    # Copy frames `first`, `first + step`, ... of a page to a stretch of tape.
    if channels == 2:
        for i in range(count):
            left[i] = data[2 * (first + step * i)] * scale
            right[i] = data[2 * (first + step * i) + 1] * scale
    else:
        for i in range(count):
            x = data[first + step * i] * scale
            left[i] = x
            right[i] = x


@kernel
def _put_int16_pairs(frames, count, left, right):
    # The common case: forward, 16-bit, stereo. Both samples of a frame are read as one number,
    # because the compiler can vectorize those reads.
    scale = views.F32(INT16_SCALE)
    for i in range(count):
        both = frames[i]
        left[i] = views.F32(np.int16(both)) * scale
        right[i] = views.F32(both >> np.int32(16)) * scale


@kernel
def _put_page(address, source, page, position, step, count, tape, at):
    # Copy `count` frames of one stem from one page, starting at a file position, to its tape. The
    # slices begin at index 0: with an offset added to each index, the compiler could not prove
    # that no index is negative, and would not vectorize.
    left, right = tape[0, at : at + count], tape[1, at : at + count]
    channels = source.channels
    place = views.page_address(address, page)
    first = position & ((1 << source.page_shift) - 1)
    # A separate call for each direction makes the step a compile-time constant.
    if source.format == INT16:
        scale = views.F32(INT16_SCALE)
        data16 = views.int16_samples(place)
        if step > 0 and channels == 2:
            _put_int16_pairs(views.int32_samples(place + 4 * first), count, left, right)
        elif step > 0:
            data16 = views.int16_samples(place + 2 * first)
            _put_frames(data16, scale, 1, 0, 1, count, left, right)
        else:
            _put_frames(data16, scale, channels, first, -1, count, left, right)
        return
    one = views.F32(1.0)
    if step > 0:
        data32 = views.float32_samples(place + 4 * channels * first)
        _put_frames(data32, one, channels, 0, 1, count, left, right)
    else:
        data32 = views.float32_samples(place)
        _put_frames(data32, one, channels, first, -1, count, left, right)
    _silence_errors(address, left, right, count)


@kernel
def _put_silence(tape, at, count):
    for channel in range(2):
        to = tape[channel, at : at + count]
        for i in range(count):
            to[i] = 0.0


@kernel
def page_frames_left(source, position, direction):
    """Return the number of frames from `position` on, in `direction`, within its page."""
    size = 1 << source.page_shift
    within = position & (size - 1)
    return size - within if direction > 0 else within + 1


@kernel
def page_of(address, number, source, position):
    """Return the arena page that holds file frame `position` of a source, or -1 if none does."""
    if position >= source.frames or position < 0:
        return -1
    entry = views.page_entry_address(address, number, position >> source.page_shift)
    return load_acquire32(entry) - 1


@kernel
def _silent_from(ramp):
    if ramp.left > 0:
        return ramp.left if ramp.target == 0.0 else NEVER
    return 0 if ramp.value == 0.0 else NEVER


@kernel
def audible_frames(address, slot, stem):
    """Return for how many of the next tape frames a stem is audible at any output.

    The result names the same frame however the time until then is divided into blocks.
    """
    ramps = views.ramps(address)
    base = RAMP_VOICE + VOICE_ROWS * slot + stem
    return max(_silent_from(ramps[base + VOICE_STEM]), _silent_from(ramps[base + VOICE_PFL]))


@kernel
def silence_stem(voice, stem, tape, at, why):
    """Silence a stem from tape index `at` on; its last value decays instead of dropping to 0.

    Returns True if it had been sounding until then.
    """
    if voice.hole[stem] < 0:
        return False
    for channel in range(2):
        last = tape[channel, at - 1]
        voice.offset[stem, channel] = last if abs(last) < MAX_SAMPLE else views.F32(0.0)
    voice.hole[stem] = why
    return True


@kernel
def _smooth_seam(voice, stem, tape, at):
    # After a wrap without crossfade: if the two ends do not meet, let the step decay.
    for channel in range(2):
        steepest = views.F32(0.0)
        for i in range(at - SEAM_LOOKBACK, at):
            steepest = max(steepest, abs(tape[channel, i] - tape[channel, i - 1]))
        step = tape[channel, at - 1] - tape[channel, at] - voice.offset[stem, channel]
        if SEAM_RATIO * steepest + SEAM_FLOOR < abs(step) < MAX_SAMPLE:
            voice.offset[stem, channel] += step


@kernel
def _apply_offset(voice, stem, tape, at, count):
    """Add the decaying remainder of a step to `count` frames of the stem's tape."""
    for channel in range(2):
        offset = voice.offset[stem, channel]
        if offset == 0.0:
            continue
        for i in range(count):
            offset *= views.F32(OFFSET_DECAY)
            if abs(offset) < OFFSET_FLOOR:
                offset = views.F32(0.0)
                break
            tape[channel, at + i] += offset
        voice.offset[stem, channel] = offset


@kernel
def _silence_errors(address, left, right, count):
    # A single bad sample must not persist in the filters and fades behind this stage.
    bad = 0
    for i in range(count):
        bad += not (abs(left[i]) < MAX_SAMPLE and abs(right[i]) < MAX_SAMPLE)
    if bad == 0:
        return
    views.ledger(address)[0].nonfinite += bad
    for i in range(count):
        if not (abs(left[i]) < MAX_SAMPLE and abs(right[i]) < MAX_SAMPLE):
            left[i] = 0.0
            right[i] = 0.0


@kernel
def _add_before(address, number, source, place, step, shares, tape, at, count):
    # Add the frames that precede a lap's beginning, times `shares`, to the end of the lap before.
    other = views.stem_tape(address)[STEMS]
    done = 0
    while done < count:
        here = place + step * done
        some = min(count - done, page_frames_left(source, here, step))
        page = page_of(address, number, source, here)
        if step > 0:
            some = min(some, max(1, source.frames - here))
        elif here >= source.frames:
            some = min(some, here - source.frames + 1)
        if page >= 0:
            _put_page(address, source, page, here, step, some, other, at + done)
        else:
            _put_silence(other, at + done, some)
        done += some
    for channel in range(2):
        for i in range(count):
            tape[channel, at + i] += shares[i] * other[channel, at + i]


@kernel
def _attenuate(voice, stem, tape, at, count, shares):
    # Attenuate the frames just laid: by the share of a crossfade, and by the fade-in after a gap.
    weights = shares[1]
    for i in range(count):
        weights[i] = views.F32(1.0) - shares[0, i]
    for i in range(min(count, voice.hole[stem])):
        weights[i] *= views.F32(1.0 - (voice.hole[stem] - i) / RETURN_FRAMES)
    voice.hole[stem] = max(0, voice.hole[stem] - count)
    for channel in range(2):
        for i in range(count):
            tape[channel, at + i] *= weights[i]


@kernel
def _lay(address, voice, stem, at, count, join, into_border, before):
    number = voice.sources[stem]
    source = views.sources(address)[number]
    tape = views.stem_tape(address)[stem]
    shares = views.weights(address)
    step = voice.direction
    page = page_of(address, number, source, voice.cursor)
    if page < 0:
        _put_silence(tape, at, count)
        if voice.cursor >= source.frames:
            silence_stem(voice, stem, tape, at, OVER)
        else:
            ledger = views.ledger(address)[0]
            ledger.missing_frames += count
            if silence_stem(voice, stem, tape, at, MISSING):
                ledger.missing_pages += 1
                record_gap(address, CAUSE_PAGE, 0, views.clock(address)[0].callback_ns)
    else:
        _put_page(address, source, page, voice.cursor, step, count, tape, at)
        if voice.hole[stem] < 0:
            voice.hole[stem] = RETURN_FRAMES
    if into_border < 0 and voice.hole[stem] <= 0:
        return
    for i in range(count):
        shares[0, i] = (into_border + i + 1) / (join + 1) if into_border >= 0 else 0.0
    if page >= 0:
        _attenuate(voice, stem, tape, at, count, shares)
    if before >= 0:
        _add_before(address, number, source, before, step, shares[0], tape, at, count)


@kernel
def _splice(address, voice, stem, at, count):
    # After a splice: fade the new position in, and add the old one, which fades out.
    number = voice.sources[stem]
    source = views.sources(address)[number]
    tape = views.stem_tape(address)[stem]
    fades = views.fades(address)
    for channel in range(2):
        for i in range(count):
            tape[channel, at + i] *= fades[0, i]
    left = voice.cursor - voice.fade_lag
    _add_before(address, number, source, left, voice.direction, fades[1], tape, at, count)


@kernel
def lay_stem(address, slot, stem, at, count, heard, join, into_border, before, seam):
    """Lay a stem's next `count` frames, which lie in one page, at index `at` of its tape.

    `heard`: how many of them are audible. `into_border`: how far the first one is into the `join`
    frames before a boundary, or negative. `before`: the file position that is faded in there, or
    -1. `seam`: the first frame follows a wrap without crossfade.
    """
    voice = views.voices(address)[slot]
    tape = views.stem_tape(address)[stem]
    some = max(0, min(count, heard))
    if some > 0:
        _lay(address, voice, stem, at, some, join, into_border, before)
        if voice.fade_left > 0:
            _splice(address, voice, stem, at, some)
        if seam:
            _smooth_seam(voice, stem, tape, at)
        _apply_offset(voice, stem, tape, at, some)
    if some < count:  # a stem that is not audible leaves no trace in the state
        _put_silence(tape, at + some, count - some)
        voice.offset[stem, 0] = 0.0
        voice.offset[stem, 1] = 0.0
        voice.hole[stem] = min(0, voice.hole[stem])


@kernel
def lay_end(voice, stem, tape, at, count):
    """Lay `count` frames past the end at index `at` of a stem's tape: its last step's decay."""
    _put_silence(tape, at, count)
    _apply_offset(voice, stem, tape, at, count)


@kernel
def restore_history(address, slot, stem):
    """Copy a stem's history to its tape, before the new frames."""
    tape = views.stem_tape(address)[stem]
    past = views.stem_past(address)[slot]
    for channel in range(2):
        for i in range(STEM_PAST):
            tape[channel, i] = past[stem, channel, i]


@kernel
def save_history(address, slot, stem, count):
    """Save a stem's latest frames, after `count` new ones, as its history."""
    tape = views.stem_tape(address)[stem]
    past = views.stem_past(address)[slot]
    for channel in range(2):
        latest = tape[channel, count : count + STEM_PAST]
        for i in range(STEM_PAST):
            past[stem, channel, i] = latest[i]
