"""Dispatch from the number of an effect module to its kernel."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FunctionType
from typing import Any

from crowdstream import effects
from crowdstream.engine.jit.compile import kernel

_namespaces: dict[str, dict[str, Any]] = {}


def _namespace(file: str) -> dict[str, Any]:
    # The globals of an effect module, in which its own functions, and those imported from other
    # effects, are replaced by kernels. The module itself remains unchanged.
    if file not in _namespaces:
        seen = _namespaces[file] = dict(vars(sys.modules[file]))
        for name, value in seen.items():
            if isinstance(value, FunctionType) and value.__module__.startswith(effects.__name__):
                seen[name] = (
                    _compiled(value)
                    if value.__module__ == file
                    else _namespace(value.__module__)[value.__name__]
                )
    return _namespaces[file]


def _compiled(function: FunctionType) -> Any:
    globals_ = _namespaces[function.__module__]
    copy = FunctionType(
        function.__code__, globals_, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__module__ = function.__module__
    copy.__qualname__ = function.__qualname__
    return kernel(copy)


def _chosen(number: int, processes: Sequence[Any]) -> Any:
    # A kernel can't index a list of kernels, but nested conditionals can select one.
    if not processes:

        @kernel
        def nothing(kind, memory, registers, values, beats, tempo, left, right, count, rate):
            return

        return nothing
    process = processes[0]
    others = _chosen(number + 1, processes[1:])

    @kernel
    def choose(kind, memory, registers, values, beats, tempo, left, right, count, rate):
        if kind == number:
            process(memory, registers, values, beats, tempo, left, right, count, rate)
        else:
            others(kind, memory, registers, values, beats, tempo, left, right, count, rate)

    return choose


process = _chosen(0, [_namespace(file.__name__)["process"] for file in effects.FILES])
"""`process(kind, ...)`: run module number `kind` on the remaining arguments (see `Module`)."""
