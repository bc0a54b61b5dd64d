"""The queue between the master and a receiver: bounded, and never in the writer's way."""

from __future__ import annotations

from crowdstream.broadcast.queues import DropQueue


def drain(queue: DropQueue[str]) -> list[str]:
    found = []
    while (item := queue.get(0.0)) is not None:
        found.append(item)
    return found


def test_the_oldest_items_are_dropped_and_counted() -> None:
    queue: DropQueue[str] = DropQueue(100)
    for name in "abcdef":
        queue.put(name, 30)
    assert queue.frames == 90 and queue.dropped == 90
    assert drain(queue) == ["d", "e", "f"] and queue.frames == 0


def test_headers_are_never_dropped() -> None:
    queue: DropQueue[str] = DropQueue(100)
    for name in "abc":
        queue.put(f"header {name}", 0)
        queue.put(name, 60)
    assert drain(queue) == ["header a", "header b", "header c", "c"]
    assert queue.dropped == 120


def test_one_item_longer_than_the_queue_is_kept() -> None:
    queue: DropQueue[str] = DropQueue(100)
    queue.put("short", 50)
    queue.put("long", 500)
    assert drain(queue) == ["long"] and queue.dropped == 50


def test_a_cleared_queue_counts_nothing_as_dropped() -> None:
    queue: DropQueue[str] = DropQueue(100)
    queue.put("a", 80)
    queue.clear()
    queue.put("b", 80)
    assert drain(queue) == ["b"] and queue.dropped == 0


def test_a_closed_queue_lets_no_reader_wait() -> None:
    queue: DropQueue[str] = DropQueue(100)
    queue.close()
    assert queue.get(1e6) is None
