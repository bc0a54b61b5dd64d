"""Find the least audible position of a splice by comparing two stretches of a voice's sound.

The comparison uses the sum of all stems without their gains, read directly from the pages, so a
splice does not depend on the mix.

Look up the attacks around a voice's playhead, as found by the loader, over all its stems.
"""

from __future__ import annotations

from crowdstream.desk.constants import ATTACKS_UNKNOWN, WAVE
from crowdstream.desk.opcodes import INT16
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire32
from crowdstream.engine.jit.compile import fast_kernel, kernel

STEP = 8  # decimation of the coarse search: a rate of 5.5 kHz suffices to find a period
# Channel weights of the mono sum: unequal, so that a signal in antiphase does not cancel out.
LEFT, RIGHT = 0.6, 0.4
MAX_DIFFERENCE = 1e30
SILENT_ENERGY = 1e-9  # energy below which a signal counts as silence


@fast_kernel
def _add_int16(samples, start, channels, count, out, at):
    if channels == 2:
        left, right = views.F32(LEFT / 32768.0), views.F32(RIGHT / 32768.0)
        for i in range(count):
            k = 2 * (start + i)
            out[at + i] += samples[k] * left + samples[k + 1] * right
    else:
        scale = views.F32(1.0 / 32768.0)
        for i in range(count):
            out[at + i] += samples[start + i] * scale


@fast_kernel
def _add_float32(samples, start, channels, count, out, at):
    if channels == 2:
        left, right = views.F32(LEFT), views.F32(RIGHT)
        for i in range(count):
            k = 2 * (start + i)
            out[at + i] += samples[k] * left + samples[k + 1] * right
    else:
        for i in range(count):
            out[at + i] += samples[start + i]


@kernel
def gather(address, voice, place, count, row):
    """Write `count` frames of the voice's mono sum from file frame `place` on to `wave[row]`.

    Zeros stand for frames outside the file and for missing pages. Also writes the sums of each
    `STEP` frames to `scan[row]`.
    """
    wave = views.wave(address)[row]
    count = min(count, WAVE)
    for i in range(count):
        wave[i] = 0.0
    for stem in range(voice.stems):
        number = voice.sources[stem]
        source = views.sources(address)[number]
        done = max(0, -place)
        last = min(count, source.frames - place)
        while done < last:
            size = 1 << source.page_shift
            within = (place + done) & (size - 1)
            some = min(last - done, size - within)
            entry = views.page_entry_address(address, number, (place + done) >> source.page_shift)
            page = load_acquire32(entry) - 1
            if page >= 0:
                where = views.page_address(address, page)
                if source.format == INT16:
                    samples = views.int16_samples(where)
                    _add_int16(samples, within, source.channels, some, wave, done)
                else:
                    samples = views.float32_samples(where)
                    _add_float32(samples, within, source.channels, some, wave, done)
            done += some
    _thin(wave, views.scan(address)[row], count // STEP)


@fast_kernel
def _thin(wave, scan, count):
    for k in range(count):
        total = views.F32(0.0)
        for i in range(STEP):
            total += wave[STEP * k + i]
        # NaN and infinity match nothing, and must not spread.
        scan[k] = total if abs(total) < views.F32(MAX_DIFFERENCE) else views.F32(0.0)


@fast_kernel
def _difference(a, b, at, shift, count):
    total = views.F32(0.0)
    for i in range(count):
        e = a[at + i] - b[at + shift + i]
        total += e * e
    return total


@fast_kernel
def _energy(a, at, count):
    total = views.F32(0.0)
    for i in range(count):
        total += a[at + i] * a[at + i]
    return total


@kernel
def find_least_difference(address, shift, first, last, fade, scale, best):
    """Find the step at which `scan[0]` and `scan[1]`, shifted by `shift` steps, differ least.

    Compares windows of `fade` steps that begin at each of the steps `first` to `last`. Returns the
    squared difference times `scale`, and the step; -1 if no value is below `best`.
    """
    a = views.scan(address)[0]
    b = views.scan(address)[1]
    at = -1
    total = _difference(a, b, first, shift, fade)
    for k in range(first, last + 1):
        value = total * scale
        if value < best:
            best = value
            at = k
        if k < last:
            behind = a[k + fade] - b[k + fade + shift]
            before = a[k] - b[k + shift]
            total = max(views.F32(0.0), total + behind * behind - before * before)
    return best, at


@kernel
def refine(address, at, behind, spread, fade):
    """Find the shift within `spread` frames at which the waves differ least, and their similarity.

    Compares `wave[0]` from `at` on with `wave[1]` from `behind` on, over `fade` frames. Returns
    the frames to add to `behind`, and a correlation from 0 to 1.
    """
    a = views.wave(address)[0]
    b = views.wave(address)[1]
    best = MAX_DIFFERENCE
    chosen = 0
    for shift in range(-spread, spread + 1):
        where = behind + shift
        if where < 0 or where + fade > WAVE or at + fade > WAVE:
            continue
        difference = _difference(a, b, at, where - at, fade)
        if difference < best:
            best = difference
            chosen = shift
    where = max(0, behind + chosen)
    total = _energy(a, at, fade) + _energy(b, where, fade)
    if not total > SILENT_ENERGY or not best < MAX_DIFFERENCE:
        return chosen, 1.0
    return chosen, min(max(1.0 - best / total, 0.0), 1.0)


NEVER = 1 << 60  # beyond any file frame


@kernel
def _page_record(address, number, page):
    # The arena page that holds a source's page; -1 if its attacks are not known.
    place = load_acquire32(views.page_entry_address(address, number, page)) - 1
    if place < 0 or views.attacks(views.attacks_address(address, place))[0] == ATTACKS_UNKNOWN:
        return -1
    return place


@kernel
def next_attack(address, voice, place, reach):
    """Return the first attack from file frame `place` on, within `reach` frames; NEVER if none."""
    found = NEVER
    for stem in range(voice.stems):
        number = voice.sources[stem]
        source = views.sources(address)[number]
        last = min(place + reach, source.frames - 1)
        if place > last:
            continue
        page = max(0, place) >> source.page_shift
        while page <= last >> source.page_shift:
            record = _page_record(address, number, page)
            begin = page << source.page_shift
            hit = False
            if record >= 0 and begin < found:
                offsets = views.attacks(views.attacks_address(address, record))
                for i in range(min(offsets[0], offsets.shape[0] - 1)):
                    at = begin + offsets[1 + i]
                    if at >= place:
                        if at <= last:
                            found = min(found, at)
                        hit = True
                        break
            if hit:
                break
            page += 1
    return found


@kernel
def last_attack(address, voice, place, reach):
    """Return the last attack before file frame `place`, within `reach` frames; -NEVER if none."""
    found = -NEVER
    for stem in range(voice.stems):
        number = voice.sources[stem]
        source = views.sources(address)[number]
        first = max(0, place - reach)
        before = min(place, source.frames)
        if first >= before:
            continue
        page = (before - 1) >> source.page_shift
        while page >= first >> source.page_shift:
            record = _page_record(address, number, page)
            hit = False
            if record >= 0:
                begin = page << source.page_shift
                offsets = views.attacks(views.attacks_address(address, record))
                count = min(offsets[0], offsets.shape[0] - 1)
                for i in range(count):
                    at = begin + offsets[count - i]
                    if at < before:
                        if at >= first:
                            found = max(found, at)
                        hit = True
                        break
            if hit:
                break
            page -= 1
    return found
