"""The rings as small machines of which every interleaving is tried.

Memory is as weak as on ARM: what a process stores becomes visible later and in any order, except
that a release waits for all that was stored before it. Both sides may be stopped for as long as
one likes at any step, which is what trying all interleavings means, and killed: another process
then begins from what is visible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

SLOTS = 3  # places of the small ring
WORDS = 2  # parts of a record that are stored one after another: half of one is a torn one

Store = tuple[str, int, int]
"""Where: "head" or a slot, which word of it, and what is stored there."""


class Torn(AssertionError):
    """The reader has seen what no writer published."""


@dataclass(frozen=True)
class Rules:
    """What is tried. `batches`: how many records the writer publishes at a time.

    `drops`: a full ring loses what has no room (events) instead of refusing the whole batch.
    `at_once`: the reader takes all there is and then frees it, or one after another.
    `kills`: how often the writer, and how often the reader, may be killed. The last three are
    mistakes, to see that they are found.
    """

    batches: tuple[int, ...]
    drops: bool = False
    at_once: bool = False
    kills: int = 1
    plain_head: bool = False  # the head is stored without waiting for the records
    early_tail: bool = False  # the place is freed before it was read
    two_heads: bool = False  # a batch is published in two halves


@dataclass(frozen=True)
class State:
    """All of it at one moment."""

    slots: tuple[tuple[int, ...], ...] = ((0,) * WORDS,) * SLOTS
    head: int = 0
    tail: int = 0
    stored: tuple[Store, ...] = ()  # by the writer, and not visible yet
    # The writer: batch and step of it, the head it began from, its records.
    batch: int = 0
    step: int = 0
    begun: int = 0
    count: int = 0
    # The reader: step, what it knows of head and tail, and what it read of a record.
    reading: int = 0
    known: int = 0
    at: int = 0
    words: tuple[int, ...] = ()
    taken: int = 0  # records read, in order
    killed: tuple[int, int] = (0, 0)
    borders: tuple[int, ...] = (0,)  # heads that a batch ends at


def explore(rules: Rules) -> int:
    """Try every interleaving; the number of states. Raises `Torn`."""
    first = State()
    seen = {first}
    left = deque([first])
    while left:
        for following in _steps(left.popleft(), rules):
            if following.head not in following.borders:
                raise Torn(f"the head shows {following.head}, inside of a batch")
            if following not in seen:
                seen.add(following)
                left.append(following)
    return len(seen)


def _steps(now: State, rules: Rules) -> Iterator[State]:
    yield from _visible(now)
    yield from _write(now, rules)
    yield from _read(now, rules)
    if now.killed[0] < rules.kills:
        yield _writer_killed(now)
    if now.killed[1] < rules.kills:
        yield replace(now, killed=(now.killed[0], now.killed[1] + 1), reading=0, words=())


def _visible(now: State) -> Iterator[State]:
    """One of the stores comes out; two to one place keep their order."""
    for number, (where, word, value) in enumerate(now.stored):
        if any(other[:2] == (where, word) for other in now.stored[:number]):
            continue
        rest = now.stored[:number] + now.stored[number + 1 :]
        yield replace(_stored(now, where, word, value), stored=rest)


def _stored(now: State, where: str, word: int, value: int) -> State:
    if where == "head":
        return replace(now, head=value)
    slots = [list(slot) for slot in now.slots]
    slots[int(where)][word] = value
    return replace(now, slots=tuple(map(tuple, slots)))


def _writer_killed(now: State) -> State:
    # What a processor has executed comes out; whoever comes next knows only what is visible.
    for store in now.stored:
        now = _stored(now, *store)
    return replace(now, stored=(), step=0, killed=(now.killed[0] + 1, now.killed[1]))


def _write(now: State, rules: Rules) -> Iterator[State]:
    if now.batch == len(rules.batches):
        return
    if now.step == 0:  # look whether there is room
        count, room = rules.batches[now.batch], SLOTS - (now.head - now.tail)
        if rules.drops:
            count = min(count, room)
        if count == 0:
            yield replace(now, batch=now.batch + 1)
        elif count <= room:
            borders = tuple(sorted({*now.borders, now.head + count}))
            yield replace(now, step=1, begun=now.head, count=count, borders=borders)
        return
    count = now.count
    done = now.step - 1
    if done < count * WORDS:
        place, word = now.begun + done // WORDS, done % WORDS
        store = (str(place % SLOTS), word, place + 1)
        yield replace(now, step=now.step + 1, stored=(*now.stored, store))
        if not (rules.two_heads and done == WORDS):
            return
        if not now.stored:
            yield replace(now, head=now.begun + 1)
        return
    end = now.begun + count
    if rules.plain_head:
        store = ("head", 0, end)
        yield replace(now, step=0, batch=now.batch + 1, stored=(*now.stored, store))
    elif not now.stored:  # a release waits until all before it is visible
        yield replace(now, step=0, batch=now.batch + 1, head=end)


def _read(now: State, rules: Rules) -> Iterator[State]:
    if now.reading == 0:
        if now.head > now.tail:
            early = now.head if rules.early_tail else now.tail
            yield replace(now, reading=1, known=now.head, at=now.tail, tail=early, words=())
        return
    if len(now.words) < WORDS:
        word = now.slots[now.at % SLOTS][len(now.words)]
        yield replace(now, words=(*now.words, word))
        return
    if now.words != (now.at + 1,) * WORDS:
        raise Torn(f"record {now.at + 1} was read as {now.words}")
    if now.at > now.taken:
        raise Torn(f"record {now.taken + 1} was left out")
    # One that was read before its reader was killed is read again.
    taken = max(now.taken, now.at + 1)
    last = now.at + 1 == now.known
    tail = now.tail if rules.early_tail or (rules.at_once and not last) else now.at + 1
    if last:
        yield replace(now, reading=0, words=(), taken=taken, tail=tail)
        return
    yield replace(now, at=now.at + 1, words=(), taken=taken, tail=tail)
