"""The state of control as plain values: two snapshots are equal if nothing has changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from crowdstream.control.dispatcher import Dispatcher
from crowdstream.control.engine_queue.request import Request

# Counters, caches and objects owned by others: not state that a command changes.
_LEFT_OUT = {
    "core", "desk", "_desk", "osc", "info", "processes", "settings", "monotonic", "wall", "clock",
    "status", "_quiet", "_burst", "messages", "failures", "malformed", "refused", "_senders",
    "_serials", "_numbers", "_order", "_hinted", "engine_queue", "request", "_moments", "launch",
    "_core", "state_changed", "_last_seen", "_last_message", "revision",
}  # fmt: skip
_PLAIN = {int, str, bytes, bool, type(None)}


def state_snapshot(core: Dispatcher) -> Any:
    """The state that a failed command must not change."""
    return _of(core, {}), int(core.desk.rings["command_head"]), len(core.engine_queue._batch)


def _of(thing: Any, seen: dict[int, int]) -> Any:
    kind = type(thing)
    if kind in _PLAIN:
        return thing
    if kind is float:
        return repr(thing)  # NaN is not equal to itself
    if id(thing) in seen:
        return f"<{seen[id(thing)]}>"
    if kind is Request or callable(thing):
        return None
    seen[id(thing)] = len(seen)
    if isinstance(thing, Mapping):
        return [(_of(key, seen), _of(value, seen)) for key, value in thing.items()]
    if isinstance(thing, list | tuple | deque):
        if len(thing) > 32 and isinstance(thing[0], int):  # a list of free numbers
            return tuple(thing)
        return [_of(part, seen) for part in thing]
    if isinstance(thing, set | frozenset):
        return sorted(map(repr, thing))
    if kind.__module__.startswith("crowdstream."):
        return kind.__name__, [
            (name, _of(value, seen)) for name, value in _parts(thing) if name not in _LEFT_OUT
        ]
    return None


def _parts(thing: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            yield name, getattr(thing, name)
