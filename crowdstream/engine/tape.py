"""The tape: a voice's stems mixed at the file's own rate, one frame after another.

Everything that happens in the file is settled here and nowhere else: page borders, loop
wraps, sections, the end of the file, pages that are not there. What comes after sees an
endless even stream, in the order in which it is heard: a voice that runs backward is fed
backward.

A loop whose length is no whole number of frames is cut into laps of whole frames, so that after
any number of laps the sum is within half a frame of the exact one.
"""

from __future__ import annotations

import math

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
PREROLL = 64  # frames of the file before a start that the interpolator is given to look back at
LOUDEST = 1e4  # a sample beyond +80 dB full scale is an error in the file

MISSING, OVER = -1, -2  # why a stem has nothing to sound


@kernel
def _add_frames(data, scale, channels, first, step, count, gains, left, right, at):
    # Frames `first`, `first + step`, ... of a page, times their gains, onto the tape.
    if channels == 2:
        for i in range(count):
            g = gains[i]
            left[at + i] += data[2 * (first + step * i)] * scale * g
            right[at + i] += data[2 * (first + step * i) + 1] * scale * g
    else:
        for i in range(count):
            x = data[first + step * i] * scale * gains[i]
            left[at + i] += x
            right[at + i] += x


@kernel
def _add_page(address, source, page, first, step, count, gains, left, right, at):
    # One stem's frames out of one page, times their gains, onto the tape.
    channels = source.channels
    place = views.page_address(address, page)
    # Each direction has a call of its own, so that the compiler knows the step.
    if source.format == INT16:
        scale = views.F32(1.0 / 32768.0)
        data16 = views.int16_samples(place)
        if step > 0:
            _add_frames(data16, scale, channels, first, 1, count, gains, left, right, at)
        else:
            _add_frames(data16, scale, channels, first, -1, count, gains, left, right, at)
        return
    one = views.F32(1.0)
    data32 = views.float32_samples(place)
    if step > 0:
        _add_frames(data32, one, channels, first, 1, count, gains, left, right, at)
    else:
        _add_frames(data32, one, channels, first, -1, count, gains, left, right, at)


@kernel
def _page_frames_left(source, position, direction):
    # Frames from `position` on, in that direction, within its page.
    size = 1 << source.page_shift
    within = position & (size - 1)
    return size - within if direction > 0 else within + 1


@kernel
def _page_of(address, number, source, position):
    # The arena page under a file position, or -1.
    if position >= source.frames or position < 0:
        return -1
    entry = views.page_entry_address(address, number, position >> source.page_shift)
    return load_acquire32(entry) - 1


@kernel
def lap_frames(voice):
    """Whole frames of the lap that a looping voice is in."""
    if voice.loop_exact <= 0.0:
        return max(1, voice.loop_out - voice.loop_in)
    return max(1, math.floor(voice.loop_exact + voice.loop_rest + 0.5))


@kernel
def _in_loop(voice):
    # Whether the loop's border lies ahead. What is past it plays on, to the end.
    if not voice.loop:
        return False
    if voice.direction > 0:
        return voice.cursor <= voice.loop_in + lap_frames(voice)
    return voice.cursor >= voice.loop_in - 1


@kernel
def _border_ahead(voice):
    # Frames from the cursor to the loop's border, or to the end.
    if voice.direction > 0:
        border = voice.loop_in + lap_frames(voice) if _in_loop(voice) else voice.end
        return border - voice.cursor
    return voice.cursor + 1 - (voice.loop_in if _in_loop(voice) else 0)


@kernel
def _join_frames(voice):
    # Length of the fade before the loop's or section's end; 0 where the file's own end is.
    if not _in_loop(voice):
        if voice.direction < 0 or voice.end >= voice.length:
            return 0
        return min(JOIN, voice.end // 2)
    lap = lap_frames(voice)
    if voice.loop_in <= 0 and lap >= voice.length:
        return 0
    return min(JOIN, lap // 2)


@kernel
def _crossfades(voice, join):
    # Whether what leads up to a lap's beginning is faded in while the lap's end is faded out.
    # Too near the beginning of the file (its end, backward) there is not enough of it: then
    # only the end is.
    if join == 0 or not _in_loop(voice):
        return False
    if voice.direction > 0:
        return voice.loop_in >= join
    return voice.loop_in + lap_frames(voice) + join <= voice.length


@kernel
def joining(voice):
    """Whether what is fed now is the end of a lap that is being faded into the next one.

    A loop that is changed or left here has to be jumped out of: what was fed last is not what
    comes before the cursor in the file.
    """
    return _in_loop(voice) and _border_ahead(voice) <= _join_frames(voice)


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
    step = voice.direction
    if into_border >= 0:
        other = weights[1]
        for i in range(count):
            share = views.F32((into_border + i + 1) / (join + 1))
            other[i] = gains[i] * share
            gains[i] -= other[i]
        if _crossfades(voice, join):
            before = voice.cursor - step * lap_frames(voice)
            done = 0
            while done < count:
                place = before + step * done
                some = min(count - done, _page_frames_left(source, place, step))
                page = _page_of(address, number, source, place)
                if page >= 0:
                    if step > 0:
                        some = min(some, source.frames - place)
                    mask = (1 << source.page_shift) - 1
                    _add_page(
                        address,
                        source,
                        page,
                        place & mask,
                        step,
                        some,
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
    mask = (1 << source.page_shift) - 1
    end = at + count - 1
    before_left = tape[0, end]
    before_right = tape[1, end]
    start = voice.cursor & mask
    _add_page(address, source, page, start, step, count, gains, tape[0], tape[1], at)
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
def _wrap(voice, at):
    # From the lap's border back to where a lap begins. `at`: tape frame of the first frame there.
    lap = lap_frames(voice)
    voice.cursor -= voice.direction * lap
    if voice.loop_exact > 0.0:
        voice.loop_rest += voice.loop_exact - lap
    voice.wraps += 1
    voice.wrap_at = at
    voice.wrap_length = lap
    if voice.direction > 0:
        for stem in range(voice.stems):
            if voice.hole[stem] == OVER:  # its beginning comes as it was made
                voice.hole[stem] = 0


@kernel
def _run_frames(address, voice, most):
    # How many frames from the cursor on lie within one page of each stem, or past its end.
    for stem in range(voice.stems):
        source = views.sources(address)[voice.sources[stem]]
        most = min(most, _page_frames_left(source, voice.cursor, voice.direction))
        if voice.direction > 0:
            if voice.cursor < source.frames:
                most = min(most, source.frames - voice.cursor)
        elif voice.cursor >= source.frames:
            most = min(most, voice.cursor - source.frames + 1)
    return most


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
            _apply_offset(voice, tape, at, count - done)
            break
        wrapped = False
        if _border_ahead(voice) <= 0:
            join = _join_frames(voice)
            if not _in_loop(voice):
                voice.ended = voice.fed + done
                for stem in range(voice.stems):
                    if join == 0:
                        _fall_silent(voice, stem, OVER)
                continue
            wrapped = (
                not _crossfades(voice, join)
                and lap_frames(voice) >= SHORTEST
                and voice.fed + done > 0
            )
            _wrap(voice, voice.fed + done)
        ahead = _border_ahead(voice)
        join = _join_frames(voice)
        some = min(count - done, ahead)
        into_border = join - ahead if join > 0 else -1
        if join > 0 and into_border < 0:
            some = min(some, -into_border)
        some = _run_frames(address, voice, some)
        for stem in range(voice.stems):
            _mix_stem(address, slot, stem, some, at, join, into_border)
        if wrapped:
            _smooth_seam(voice, tape, at)
        _apply_offset(voice, tape, at, some)
        voice.cursor += voice.direction * some
        done += some
    voice.fed += count
    _silence_errors(address, tape, count)
    for channel in range(2):
        for i in range(HISTORY):
            past[channel, i] = tape[channel, i + count]


@kernel
def file_position(voice, tape_frame):
    """The file frame that lies at a frame of the tape (counted as `voice.fed`).

    Exact as far back as the wrap before the latest one, and as long as the voice has not
    been sent elsewhere; past the end it is the frame behind the last one.
    """
    fed = voice.fed
    if voice.ended >= 0:
        fed = min(fed, voice.ended)
        if tape_frame >= fed:
            return voice.cursor
    direction = voice.direction
    position = voice.cursor - direction * (fed - tape_frame)
    if tape_frame >= fed and _in_loop(voice) and _border_ahead(voice) <= 0:
        return position - direction * lap_frames(voice)
    if voice.wraps == 0 or tape_frame >= voice.wrap_at:
        return position
    lap = voice.wrap_length
    position += direction * lap
    if voice.wraps > 1:  # a loop so short that more laps than one lie in between
        if direction > 0 and position < voice.loop_in:
            position += (voice.loop_in - position + lap - 1) // lap * lap
        elif direction < 0 and position >= voice.loop_in + lap:
            position -= (position - voice.loop_in) // lap * lap
    return position


@kernel
def preroll(address, slot):
    """Have a voice that has just been put somewhere begin a little earlier on its tape.

    Its playhead stays where it is in the file, with up to `PREROLL` frames of the file fed
    before it, so that the interpolator is right from its first frame. Does nothing where a
    page of them is missing. For a voice with nothing fed yet.
    """
    voice = views.voices(address)[slot]
    step = voice.direction
    if step > 0:
        count = min(PREROLL, voice.cursor)
        border = voice.loop_in + lap_frames(voice) if voice.loop else voice.end
        if voice.cursor > border:  # not across it
            count = min(count, voice.cursor - border - 1)
    else:
        count = min(PREROLL, voice.length - 1 - voice.cursor)
        if voice.loop and voice.cursor < voice.loop_in - 1:
            count = min(count, voice.loop_in - 2 - voice.cursor)
    if count <= 0:
        return
    first = voice.cursor - step * count
    last = voice.cursor - step
    for stem in range(voice.stems):
        number = voice.sources[stem]
        source = views.sources(address)[number]
        for place in (first, last):
            if place < source.frames and _page_of(address, number, source, place) < 0:
                return
    voice.cursor = first
    voice.play = count
