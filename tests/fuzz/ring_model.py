"""A model of the rings as small state machines, which is explored in every interleaving.

Memory is as weakly ordered as on ARM: a process's stores become visible later and in any order,
except that a release waits for all earlier stores. Exploring all interleavings covers a process
that stops at any step for any time. A process may also be killed; its successor then starts from
what is visible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

SLOTS = 3  # size of the small ring
WORDS = 2  # words of a record, stored one after another: a record can be torn between them

Store = tuple[str, int, int]
"""A store: "head" or a slot, the index of the word, and the value."""


class Torn(AssertionError):
    """The reader saw data that no writer published."""


@dataclass(frozen=True)
class Rules:
    """The scenario. `batches`: sizes of the batches that the writer publishes, in records.

    `drops`: a full ring drops the records that do not fit (events) instead of refusing the whole
    batch. `at_once`: the reader frees all records together after reading them, instead of one
    after another. `kills`: how often the writer, and how often the reader, may be killed. The last
    three are mistakes, which `explore` must detect.
    """

    batches: tuple[int, ...]
    drops: bool = False
    at_once: bool = False
    kills: int = 1
    plain_head: bool = False  # the head is stored without waiting for the records
    early_tail: bool = False  # the slot is freed before it is read
    two_heads: bool = False  # a batch is published in two halves


@dataclass(frozen=True)
class State:
    """The complete state at one moment."""

    slots: tuple[tuple[int, ...], ...] = ((0,) * WORDS,) * SLOTS
    head: int = 0
    tail: int = 0
    stored: tuple[Store, ...] = ()  # the writer's stores that are not visible yet
    # The writer: its batch, its step in it, the head at its start and its record count.
    batch: int = 0
    step: int = 0
    begun: int = 0
    count: int = 0
    # The reader: its step, the head and position it knows, and the words read of a record.
    reading: int = 0
    known: int = 0
    at: int = 0
    words: tuple[int, ...] = ()
    taken: int = 0  # records read in order
    killed: tuple[int, int] = (0, 0)
    borders: tuple[int, ...] = (0,)  # values of the head between batches


def explore(rules: Rules) -> int:
    """Explore every interleaving and return the number of states; raise `Torn` for a fault."""
    first = State()
    seen = {first}
    left = deque([first])
    while left:
        for following in _steps(left.popleft(), rules):
            if following.head not in following.borders:
                raise Torn(f"the head is {following.head}, inside a batch")
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
    """One pending store becomes visible; stores to one location keep their order."""
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
    # Executed stores do become visible; the next writer knows only what is visible.
    for store in now.stored:
        now = _stored(now, *store)
    return replace(now, stored=(), step=0, killed=(now.killed[0] + 1, now.killed[1]))


def _write(now: State, rules: Rules) -> Iterator[State]:
    if now.batch == len(rules.batches):
        return
    if now.step == 0:  # check for room
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
    elif not now.stored:  # a release waits until all earlier stores are visible
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
        raise Torn(f"record {now.taken + 1} was skipped")
    # A record whose reader was killed before freeing it is read again.
    taken = max(now.taken, now.at + 1)
    last = now.at + 1 == now.known
    tail = now.tail if rules.early_tail or (rules.at_once and not last) else now.at + 1
    if last:
        yield replace(now, reading=0, words=(), taken=taken, tail=tail)
        return
    yield replace(now, at=now.at + 1, words=(), taken=taken, tail=tail)
