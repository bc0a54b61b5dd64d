"""Kernels as plain Python functions.

Python can call few of the engine's kernels: the others are parts that are compiled into their
callers. Here their modules are imported again, beside the compiled ones, with decorators that do
nothing, and with equivalent views and ordered loads and stores in numpy. A test can call any part
on the records of a real desk, without compiling anything.

Arithmetic is that of Python and numpy, which is identical for the integers and float64 of commands,
clocks and ramps. Modules whose kernels work on registers of eight numbers (`engine.dsp.simd`) can
be imported, but those kernels can't be called.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from crowdstream.desk import atomics
from crowdstream.desk.block import Desk
from crowdstream.desk.constants import UNDO_WORDS
from crowdstream.desk.layout import REGIONS

_ENGINE = "crowdstream.engine"


def _array_at(dtype: np.dtype, shape: tuple[int, ...], offset: int) -> Callable[[int], Any]:
    size = dtype.itemsize * int(np.prod(shape))

    def view(address: int) -> Any:
        memory = memoryview((ctypes.c_char * size).from_address(int(address) + offset))
        array = np.frombuffer(memory, dtype).reshape(shape)
        # In a kernel, fields of records are attributes.
        return array.view(np.recarray) if dtype.fields else array

    return view


def _views() -> ModuleType:
    made: Any = ModuleType(f"{_ENGINE}.jit.views")
    for region in REGIONS.values():
        setattr(made, region.name, _array_at(region.dtype, region.shape, region.offset))
    made.words = _array_at(np.dtype("i4"), (UNDO_WORDS,), 0)
    made.UNDO_AT = REGIONS["undo"].offset
    return made  # type: ignore[no-any-return]


def _unchanged(kernel: Callable[..., Any]) -> Callable[..., Any]:
    return kernel


def _entry(_signature: Any) -> Callable[..., Any]:
    return _unchanged


def _jit() -> ModuleType:
    made: Any = ModuleType(f"{_ENGINE}.jit.compile")
    made.kernel = made.fast_kernel = _unchanged
    made.entry = _entry
    return made  # type: ignore[no-any-return]


def _atomics() -> ModuleType:
    made: Any = ModuleType(f"{_ENGINE}.jit.atomics")
    made.load_acquire = lambda address: atomics.load_acquire(int(address))
    made.store_release = lambda address, value: atomics.store_release(int(address), int(value))
    made.fence = atomics.fence
    return made  # type: ignore[no-any-return]


def _only_compiled(name: str) -> Any:
    def refused(*_arguments: Any) -> Any:
        raise NotImplementedError(f"{name} works on a register: it has no meaning in Python")

    return refused


def _lanes() -> ModuleType:
    made: Any = ModuleType(f"{_ENGINE}.dsp.simd")
    made.BYTES = 32
    made.__getattr__ = _only_compiled
    return made  # type: ignore[no-any-return]


@contextlib.contextmanager
def _engine_without_compiler() -> Iterator[None]:
    kept = {
        name: module
        for name, module in sys.modules.items()
        if name == _ENGINE or name.startswith(f"{_ENGINE}.")
    }
    package = ModuleType(_ENGINE)
    package.__path__ = list(importlib.import_module(_ENGINE).__path__)
    for name in kept:
        del sys.modules[name]
    sys.modules[_ENGINE] = package
    for made in (_views(), _jit(), _atomics(), _lanes()):
        sys.modules[made.__name__] = made
    try:
        yield
    finally:
        for name in [one for one in sys.modules if one == _ENGINE or one.startswith(f"{_ENGINE}.")]:
            del sys.modules[name]
        sys.modules.update(kept)


@functools.cache
def interpreted(name: str) -> Any:
    """Return the module `crowdstream.engine.<name>` with plain functions instead of kernels."""
    with _engine_without_compiler():
        return importlib.import_module(f"{_ENGINE}.{name}")


def address_of(desk: Desk) -> Any:
    """Return the address of a desk as int64, so that sums have 64 bits as in a kernel."""
    return np.int64(desk.address)
