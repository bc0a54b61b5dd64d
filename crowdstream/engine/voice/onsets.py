"""Look up the attacks around a voice's playhead, as found by the loader, over all its stems."""

from __future__ import annotations

from crowdstream.desk.constants import ATTACKS_UNKNOWN
from crowdstream.engine.jit import views
from crowdstream.engine.jit.atomics import load_acquire32
from crowdstream.engine.jit.compile import kernel

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
