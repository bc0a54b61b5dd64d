"""A callback must not allocate, touch Python objects, compile, or release the GIL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import types
from numba.core.errors import TypingError

import crowdstream
from crowdstream.engine import render, undo_log
from crowdstream.engine.drivers.callback import Callback
from crowdstream.engine.jit import compile, kernel_cache
from crowdstream.engine.schedule import ledger
from crowdstream.engine.schedule.ledger import histogram_bin
from tests.support.render_harness import RenderHarness, noise

_KERNELS = (render.render_at, ledger.begin_block, ledger.end_block, undo_log.recover)
_WRAPPERS = ("_ZN7cpython", "cfunc.")
_FORBIDDEN = re.compile(r"NRT_|Py|_Py|numba_(?!gil)|malloc|calloc|realloc|free$|printf|pthread")


def _bodies(llvm: str) -> dict[str, list[str]]:
    # For each function that the module defines, the functions that it calls.
    bodies: dict[str, list[str]] = {}
    calls: list[str] = []
    for line in llvm.splitlines():
        if line.startswith("define "):
            name = re.search(r'@"?([^"(]+)"?\(', line)
            assert name
            calls = bodies.setdefault(name.group(1), [])
        elif not line.startswith("}"):
            called = re.search(r'\b(?:call|invoke)\b[^@]*@"?([^"(]+)"?\(', line)
            if called:
                calls.append(called.group(1))
    return bodies


def _llvm(kernel: Any) -> str:
    """Return the LLVM code of a kernel from numba's cache, so that nothing is compiled."""
    (arguments,) = kernel.signatures
    store = kernel._cache
    key = store._index_key(types.void(*arguments), kernel.targetctx.codegen())
    _name, kind, (_machine_code, bitcode) = store._cache_file.load(key)[0]
    assert kind == "object"
    return str(llvm.parse_bitcode(bitcode))


@pytest.mark.parametrize("kernel", _KERNELS, ids=lambda kernel: kernel.__name__)
def test_no_kernel_allocates_or_touches_python(kernel: Any) -> None:
    assert not kernel.targetoptions.get("nogil")
    assert len(kernel.signatures) == 1
    bodies = _bodies(_llvm(kernel))
    # The wrappers unpack Python's arguments before the kernel and clean up after it.
    native = {at: body for at, body in bodies.items() if not at.startswith(_WRAPPERS)}
    assert len(native) < len(bodies), "no wrapper found, so these are not the names"
    assert any(kernel.__name__ in at for at in native)
    for at, called in native.items():
        assert not [call for call in called if _FORBIDDEN.match(call)], at
        assert not _FORBIDDEN.match(at), at


def test_a_kernel_that_allocates_does_not_compile() -> None:
    @compile.kernel
    def careless(frames: int) -> float:
        return float(np.zeros(frames).sum())

    with pytest.raises(TypingError):
        careless(3)


def test_nothing_in_the_engine_releases_the_gil() -> None:
    for part in ("engine", "desk"):
        for path in (Path(crowdstream.__file__).parent / part).rglob("*.py"):
            assert "nogil" not in path.read_text(), path
    assert "nogil" not in compile._OPTIONS


def test_nothing_compiles_after_import() -> None:
    before = [list(kernel.signatures) for kernel in _KERNELS]
    with RenderHarness() as harness:
        callback = Callback(harness.desk, 256)
        callback._first = False
        harness.start(0, harness.load(noise(3000)), rate=1.06)
        for frames in (256, 100, 1):
            assert callback.fill(frames, frames == 100).shape == (frames, 2)
        assert int(harness.desk.ledger["guarded"]) == 0
        assert int(harness.desk.ledger["blocks"]) == 3
        assert int(harness.desk.ledger["device_flags"]) == 1
        del callback
    assert [list(kernel.signatures) for kernel in _KERNELS] == before
    for kernel in _KERNELS:
        assert not kernel._can_compile
        with pytest.raises(TypeError, match=r"enough arguments|No matching"):
            kernel("a desk")


def test_a_callback_returns_the_rendered_frames_and_never_fewer() -> None:
    samples = noise(40000)
    with RenderHarness() as harness, RenderHarness() as other:
        callback = Callback(harness.desk, 64)
        callback._first = False
        harness.start(0, harness.load(samples), rate=1.06)
        other.start(0, other.load(samples), rate=1.06)
        parts = [callback.fill(frames, False).copy() for frames in (64, 64, 1, 2000, 64)]
        assert np.array_equal(np.concatenate(parts), other.render(2193))
        assert callback.fill(100_000, False).shape == (100_000, 2)
        assert int(harness.desk.ledger["guarded"]) == 1
        del callback


def test_a_retired_callback_does_not_render() -> None:
    with RenderHarness() as harness:
        harness.start(0, harness.load(noise(4000)))
        retired, other = Callback(harness.desk, 64), Callback(harness.desk, 64)
        retired._first = other._first = False
        retired.retired = True
        assert not retired.fill(64, False).any() and harness.desk.frame == 0
        assert other.fill(64, False).any() and harness.desk.frame == 64
        assert not retired.fill(64, False).any() and harness.desk.frame == 64
        assert retired.calls == 2
        del retired, other


def test_a_failing_kernel_is_counted_and_returns_silence() -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError

    with RenderHarness() as harness:
        callback = Callback(harness.desk, 64)
        callback._first = False
        harness.start(0, harness.load(noise(4000)))
        assert callback.fill(64, False).any()
        callback._kernels = callback._kernels._replace(render_at=broken)
        assert not callback.fill(64, False).any()
        assert int(harness.desk.ledger["guarded"]) == 1
        del callback


def test_denormals_are_flushed_only_inside_the_kernels() -> None:
    smallest = np.float32(1e-42)
    one = np.ones(1, np.float32)
    with RenderHarness() as harness:
        samples = np.full(3000, smallest, np.float32)
        harness.start(0, harness.load(samples), gain=0.5, rate=1.06)
        out = harness.render(2000)
    assert not out.any()
    # Afterwards this thread's arithmetic is unchanged.
    assert (one * smallest)[0] == smallest
    assert float((one * smallest)[0]) > 0.0


def test_the_cache_folder_depends_on_all_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    assert Path(numba.core.config.CACHE_DIR) == kernel_cache.folder()
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert kernel_cache.folder().name == kernel_cache.digest()[:16]


def test_calling_a_part_from_python_raises() -> None:
    # Its code exists only inside the kernels: a call from Python must not run undefined code.
    with pytest.raises(MemoryError):
        histogram_bin(1000)
