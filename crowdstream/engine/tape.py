"""The tape: a voice's stems mixed at the file's own rate, one frame after another.

Everything that happens in the file is settled here and nowhere else: page borders, loop
wraps, sections, the end of the file, pages that are not there. What comes after sees an
endless even stream.
"""

from __future__ import annotations

from crowdstream.desk.layout import (
    CAUSE_PAGE,
    HISTORY,
    INT16,
    RAMP_VOICE,
    VOICE_ROWS,
    VOICE_STEM,
)
from crowdstream.engine import views
from crowdstream.engine.atomics import load_acquire32
from crowdstream.engine.jit import kernel
from crowdstream.engine.ledger import note_gap
from crowdstream.engine.ramps import fill_ramp

JOIN = 128  # frames over which a loop or section end is faded (2.9 ms: too short to hear)
SHORTEST = 128  # frames of a loop whose seam is smoothed; a shorter one is a waveform
RETURN = 64  # frames over which a stem comes back after a missing page
OFFSET_DECAY = 0.985  # per frame: a step dies away within about 5 ms
OFFSET_FLOOR = 1e-6
SEAM_RATIO = 4.0  # a join this many times steeper than what led to it is a click
SEAM_FLOOR = 0.01
SEAM_LOOKBACK = 8
LOUDEST = 1e4  # a sample beyond +80 dB full scale is an error in the file

MISSING, OVER = -1, -2  # why a stem has nothing to sound


@kernel
def _add_page(address, source, page, start, count, gains, left, right, at):
    # One stem's frames out of one page, times their gains, onto the tape.
    shift_base = 0
    if source.format == INT16:
        data16 = views.int16_samples(views.page_address(address, page))
        scale = 1.0 / 32768.0
        if source.channels == 2:
            shift_base = 2 * start
            for i in range(count):
                g = gains[i]
                left[at + i] += data16[shift_base + 2 * i] * views.F32(scale) * g
                right[at + i] += data16[shift_base + 2 * i + 1] * views.F32(scale) * g
        else:
            for i in range(count):
                x = data16[start + i] * views.F32(scale) * gains[i]
                left[at + i] += x
                right[at + i] += x
        return
    data32 = views.float32_samples(views.page_address(address, page))
    if source.channels == 2:
        shift_base = 2 * start
        for i in range(count):
            g = gains[i]
            left[at + i] += data32[shift_base + 2 * i] * g
            right[at + i] += data32[shift_base + 2 * i + 1] * g
    else:
        for i in range(count):
            x = data32[start + i] * gains[i]
            left[at + i] += x
            right[at + i] += x


@kernel
def _page_frames_left(source, position):
    # Frames from `position` to the end of its page.
    size = 1 << source.page_shift
    return size - (position & (size - 1))


@kernel
def _page_of(address, number, source, position):
    # The arena page under a file position, or -1.
    if position >= source.frames or position < 0:
        return -1
    entry = views.page_entry_address(address, number, position >> source.page_shift)
    return load_acquire32(entry) - 1


@kernel
def _join_frames(voice):
    # Length of the fade before the loop's or section's end; 0 where the file's own end is.
    border = voice.loop_out if voice.loop else voice.end
    if border >= voice.length and not (voice.loop and voice.loop_in > 0):
        return 0
    length = border - voice.loop_in if voice.loop else border
    return min(JOIN, length // 2)


@kernel
def _crossfades(voice, join):
    # Whether what leads up to the loop's beginning is faded in while its end is faded out.
    # Too near the beginning of the file there is not enough of it: then only the end is.
    return voice.loop and join > 0 and voice.loop_in >= join


@kernel
def _fall_silent(voice, stem, why):
    # A stem stops short: what it gave last dies away instead of dropping.
    if voice.hole[stem] >= 0:
        for channel in range(2):
            if abs(voice.last[stem, channel]) < LOUDEST:
                voice.offset[channel] += voice.last[stem, channel]
        voice.hole[stem] = why
        voice.last[stem, 0] = 0.0
        voice.last[stem, 1] = 0.0
        return True
    return False


@kernel
def _mix_stem(address, slot, stem, count, at, join, into_border):
    # One stem's next `count` frames, all within one page, onto the tape at `at`.
    voice = views.voices(address)[slot]
    ramp = views.ramps(address)[RAMP_VOICE + VOICE_ROWS * slot + VOICE_STEM + stem]
    if ramp.left == 0 and ramp.value == 0.0:
        voice.last[stem, 0] = 0.0
        voice.last[stem, 1] = 0.0
        return
    weights = views.weights(address)
    gains = weights[0]
    fill_ramp(ramp, gains, count)
    number = voice.sources[stem]
    source = views.sources(address)[number]
    tape = views.tape(address)
    if into_border >= 0:
        other = weights[1]
        for i in range(count):
            share = views.F32((into_border + i + 1) / (join + 1))
            other[i] = gains[i] * share
            gains[i] -= other[i]
        if _crossfades(voice, join):
            before = voice.cursor - (voice.loop_out - voice.loop_in)
            done = 0
            while done < count:
                some = min(count - done, _page_frames_left(source, before + done))
                page = _page_of(address, number, source, before + done)
                if page >= 0:
                    mask = (1 << source.page_shift) - 1
                    _add_page(
                        address,
                        source,
                        page,
                        (before + done) & mask,
                        min(some, source.frames - before - done),
                        other[done:],
                        tape[0],
                        tape[1],
                        at + done,
                    )
                done += some
    page = _page_of(address, number, source, voice.cursor)
    if page < 0:
        if voice.cursor >= source.frames:
            _fall_silent(voice, stem, OVER)
            return
        ledger = views.ledger(address)[0]
        ledger.missing_frames += count
        if _fall_silent(voice, stem, MISSING):
            ledger.missing_pages += 1
            note_gap(address, CAUSE_PAGE, 0, views.clock(address)[0].callback_ns)
        return
    if voice.hole[stem] < 0:
        voice.hole[stem] = RETURN
    for i in range(min(count, voice.hole[stem])):
        gains[i] *= views.F32(1.0 - (voice.hole[stem] - i) / RETURN)
    voice.hole[stem] = max(0, voice.hole[stem] - count)
    some = min(count, source.frames - voice.cursor)
    mask = (1 << source.page_shift) - 1
    end = at + count - 1
    before_left = tape[0, end]
    before_right = tape[1, end]
    start = voice.cursor & mask
    _add_page(address, source, page, start, some, gains, tape[0], tape[1], at)
    voice.last[stem, 0] = tape[0, end] - before_left
    voice.last[stem, 1] = tape[1, end] - before_right


@kernel
def _smooth_seam(voice, tape, at):
    # After a wrap without a crossfade: where the two ends do not meet, spread the step.
    for channel in range(2):
        steepest = 0.0
        for i in range(at - SEAM_LOOKBACK, at):
            steepest = max(steepest, abs(tape[channel, i] - tape[channel, i - 1]))
        step = tape[channel, at - 1] - tape[channel, at] - voice.offset[channel]
        if SEAM_RATIO * steepest + SEAM_FLOOR < abs(step) < LOUDEST:
            voice.offset[channel] += step


@kernel
def _apply_offset(voice, tape, at, count):
    for channel in range(2):
        offset = voice.offset[channel]
        if offset == 0.0:
            continue
        for i in range(count):
            offset *= views.F32(OFFSET_DECAY)
            if abs(offset) < OFFSET_FLOOR:
                offset = views.F32(0.0)
                break
            tape[channel, at + i] += offset
        voice.offset[channel] = offset


@kernel
def _silence_errors(address, tape, count):
    # One bad sample of a file must not live on in filters and fades behind this.
    bad = 0
    for i in range(HISTORY, HISTORY + count):
        if not (abs(tape[0, i]) < LOUDEST and abs(tape[1, i]) < LOUDEST):
            tape[0, i] = 0.0
            tape[1, i] = 0.0
            bad += 1
    if bad > 0:
        views.ledger(address)[0].nonfinite += bad


@kernel
def file_position(voice, tape_frame):
    """The file frame that lies at a frame of the tape near the playhead."""
    behind = voice.fed - tape_frame
    position = voice.cursor - voice.direction * behind
    if tape_frame < voice.wrap_at:
        position += voice.direction * voice.wrap_length
        length = voice.loop_out - voice.loop_in
        if voice.loop and voice.wraps > 1 and position < voice.loop_in:
            # A loop so short that several laps lie between playhead and tape's end.
            position += (voice.loop_in - position + length - 1) // length * length
    return position


@kernel
def feed(address, slot, count):
    """Lay `count` new frames on the tape, behind `HISTORY` frames of what came before.

    The new frames lie at `tape[:, HISTORY : HISTORY + count]`.
    """
    voice = views.voices(address)[slot]
    tape = views.tape(address)
    past = views.history(address)[slot]
    for channel in range(2):
        for i in range(HISTORY):
            tape[channel, i] = past[channel, i]
        for i in range(HISTORY, HISTORY + count):
            tape[channel, i] = 0.0
    done = 0
    while done < count:
        at = HISTORY + done
        if voice.ended >= 0:
            some = count - done
            _apply_offset(voice, tape, at, some)
            done += some
            continue
        border = voice.loop_out if voice.loop else voice.end
        join = _join_frames(voice)
        wrapped = False
        if voice.cursor >= border:
            if voice.loop:
                voice.wrap_at = voice.fed + done
                voice.wrap_length = voice.cursor - voice.loop_in
                voice.cursor = voice.loop_in
                voice.wraps += 1
                wrapped = (
                    not _crossfades(voice, join)
                    and voice.loop_out - voice.loop_in >= SHORTEST
                    and voice.fed + done > 0
                )
                for stem in range(voice.stems):
                    if voice.hole[stem] == OVER:  # its beginning comes as it was made
                        voice.hole[stem] = 0
            else:
                voice.ended = voice.fed + done
                for stem in range(voice.stems):
                    if join == 0:
                        _fall_silent(voice, stem, OVER)
                continue
        some = min(count - done, border - voice.cursor)
        into_border = voice.cursor - (border - join)
        if join > 0 and into_border < 0:
            some = min(some, -into_border)
        elif join == 0:
            into_border = -1
        for stem in range(voice.stems):
            source = views.sources(address)[voice.sources[stem]]
            some = min(some, _page_frames_left(source, voice.cursor))
            if voice.cursor < source.frames:
                some = min(some, source.frames - voice.cursor)
        for stem in range(voice.stems):
            _mix_stem(address, slot, stem, some, at, join, into_border)
        if wrapped:
            _smooth_seam(voice, tape, at)
        _apply_offset(voice, tape, at, some)
        voice.cursor += some
        done += some
    voice.fed += count
    _silence_errors(address, tape, count)
    for channel in range(2):
        for i in range(HISTORY):
            past[channel, i] = tape[channel, i + count]
