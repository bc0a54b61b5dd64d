"""All that control knows, as plain values: two pictures are equal when nothing has changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from crowdstream.control.context import Context
from crowdstream.control.core import Core

# Counters, caches and what belongs to others: not the state that a command changes.
_LEFT_OUT = {
    "core", "desk", "_desk", "osc", "info", "processes", "settings", "monotonic", "wall", "clock",
    "status", "_quiet", "_burst", "messages", "failures", "malformed", "refused", "_senders",
    "_serials", "_numbers", "_order", "_hinted", "outbox", "pages", "context", "_moments", "launch",
    "_core",
}  # fmt: skip
_PLAIN = (int, float, str, bytes, bool, type(None))


def picture(core: Core) -> Any:
    """What a failed command must leave as it is."""
    return _of(core, {}), int(core.desk.rings["command_head"]), len(core.outbox._batch)


def _of(thing: Any, seen: dict[int, int]) -> Any:
    if isinstance(thing, _PLAIN):
        # NaN would differ from itself.
        return repr(thing) if isinstance(thing, float) else thing
    if id(thing) in seen:
        return f"<{seen[id(thing)]}>"
    if isinstance(thing, Context) or callable(thing):
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
    if type(thing).__module__.startswith("crowdstream."):
        names = sorted(set(_names(thing)) - _LEFT_OUT)
        return type(thing).__name__, [(n, _of(getattr(thing, n), seen)) for n in names]
    return None


def _names(thing: Any) -> list[str]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(thing, "__dict__", ()), *slots]
