"""An interrupted compilation is resumed, and damaged saved parts are not used."""

from __future__ import annotations

import errno
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest
from numba import types
from numba.core.caching import FunctionCache

from crowdstream.engine.dsp import simd
from crowdstream.engine.jit import compile, kept_parts, kernel_cache, libraries, views
from crowdstream.engine.jit.kept_parts import SavedParts, type_as_json, type_of_json
from crowdstream.engine.jit.part_keys import NoKey
from crowdstream.engine.jit.part_store import PartStore

SOURCE = """
import numpy as np
from numba import types
from crowdstream.engine.jit.compile import entry, kernel

FACTOR = 3.0

@kernel
def lowest(x):
    return x + 0.5, 7

@kernel
def middle(x):
    return lowest(x)[0] * FACTOR

@kernel
def aside(x):
    return np.sign(x) * max(x, 2.0)

def chosen(number, before):
    @kernel
    def choice(x):
        return before(x) + number
    return choice

choice = chosen(2, chosen(1, aside))

@entry(types.float64(types.float64))
def whole(x):
    return middle(x) - choice(x)
"""
RESULT = (1.25 + 0.5) * 3.0 - (2.0 + 1 + 2)
ALL = ["lowest", "middle", "aside", "choice", "choice"]


class Interrupted(BaseException):
    """Simulates the end of the process."""


class Watched(SavedParts):
    """Records which parts are compiled, and interrupts after a number of parts."""

    def __init__(self, folder: Path, parts: int = 1000) -> None:
        super().__init__(PartStore(folder))
        self.names: list[str] = []
        self.left = parts

    def save(self, key: str, compiled: Any) -> None:
        super().save(key, compiled)
        self.names.append(compiled.fndesc.qualname.rpartition(".")[2])
        self.left -= 1
        if self.left == 0:
            raise Interrupted


class Place:
    """A folder with the sources of some kernels, compiled by one process after another."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parts = folder / "parts"
        self.parts.mkdir(mode=0o700)
        self.file = folder / "small_kernels.py"
        self._folder = folder
        self._patch = monkeypatch
        self._runs = itertools.count()
        self.optimised = 0

    def run(self, source: str = SOURCE, kept: Watched | None = None) -> tuple[ModuleType, Watched]:
        """Import the kernels like a new process would, without numba's own cache."""
        kept = kept or Watched(self.parts)
        self.file.write_text(source, encoding="utf-8")
        self._patch.setattr(compile, "kept", kept)
        numbas = str(self._folder / f"numba{next(self._runs)}")
        self._patch.setattr(numba.core.config, "CACHE_DIR", numbas)
        spec = importlib.util.spec_from_file_location("small_kernels", self.file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        self._patch.setitem(sys.modules, "small_kernels", module)
        spec.loader.exec_module(module)
        return module, kept


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path, monkeypatch)
    optimise = libraries.KernelLibrary._optimize_final_module

    def counted(library: Any) -> None:
        made.optimised += 1
        optimise(library)

    monkeypatch.setattr(libraries.KernelLibrary, "_optimize_final_module", counted)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield made


def machine_code(module: ModuleType) -> bytes:
    """Return the machine code of a module's kernel in numba's cache."""
    store = module.whole._cache
    key = store._index_key(types.float64(types.float64), module.whole.targetctx.codegen())
    made: bytes = store._cache_file.load(key)[0][2][0]
    return made


def test_an_interruption_loses_only_the_step_in_progress(place: Place) -> None:
    module, kept = place.run(kept=Watched(place.parts.parent))
    assert kept.names == ALL and module.whole(1.25) == RESULT
    undisturbed = machine_code(module)
    for part in ALL:
        with pytest.raises(Interrupted):
            place.run(kept=(kept := Watched(place.parts, parts=1)))
        assert kept.names == [part], "one more than the time before"
    assert place.optimised == 1
    module, kept = place.run()
    assert kept.names == [] and place.optimised == 2
    assert module.whole(1.25) == RESULT
    assert len(machine_code(module)) == len(undisturbed)
    # If only its machine code is missing, the kernel is not optimised again either.
    again, kept = place.run()
    assert kept.names == [] and place.optimised == 2
    assert machine_code(again) == machine_code(module) and again.whole(1.25) == RESULT


def test_equal_functions_are_compiled_once_and_counted_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(kernel_cache, "part_done", lambda: counted.append(1))
    twice = SOURCE.replace("- choice(x)", "- choice(x) - other(x)").replace(
        "@entry", "other = chosen(2, chosen(1, aside))\n\n@entry"
    )
    for names in (ALL, []):
        module, kept = place.run(twice)
        assert kept.names == names and module.whole(1.25) == RESULT - 5
        assert len(counted) == len(ALL)
        counted.clear()


@pytest.mark.parametrize(
    ("old", "new", "compiled", "result"),
    [
        ("* FACTOR", "* FACTOR * 2.0", ["middle"], 5.5),
        ("FACTOR = 3.0", "FACTOR = 4.0", ["middle"], 2.0),
        ("x + 0.5, 7", "x + 1.5, 7", ["lowest", "middle"], 3.25),
        ("x + 0.5, 7", "x + 0.5, 7.0", ["lowest", "middle"], RESULT),
        ("chosen(1, aside)", "chosen(3, aside)", ["choice", "choice"], RESULT - 2),
        ("chosen(2, ", "chosen(4, ", ["choice"], RESULT - 2),
        ("middle(x) -", "middle(x) +", [], 10.25),
        ("FACTOR = 3.0", "UNUSED = 1\n\nFACTOR = 3.0", [], RESULT),
    ],
)
def test_a_change_recompiles_only_the_affected_parts(
    place: Place, old: str, new: str, compiled: list[str], result: float
) -> None:
    place.run()
    assert old in SOURCE
    module, kept = place.run(SOURCE.replace(old, new))
    assert kept.names == compiled
    assert module.whole(1.25) == result
    assert place.optimised == (1 if (compiled, result) == ([], RESULT) else 2)


def test_damaged_or_missing_parts_are_compiled_again(place: Place) -> None:
    place.run()
    entries = sorted(place.parts.iterdir())
    assert len(entries) >= len(ALL) + 1
    for number, path in enumerate(entries):
        data = path.read_bytes()
        damaged = [data[: len(data) // 2], b"", data[:-1] + bytes([data[-1] ^ 255])][number % 3]
        path.write_bytes(damaged)
    module, kept = place.run()
    assert kept.names == ALL and module.whole(1.25) == RESULT
    assert sorted(place.parts.iterdir()) == entries
    for path in entries:
        path.unlink()
        module, kept = place.run()
        assert module.whole(1.25) == RESULT
        assert sorted(place.parts.iterdir()) == entries


def test_two_compiling_processes_do_not_interfere(place: Place) -> None:
    class Beside(Watched):
        def save(self, key: str, compiled: Any) -> None:
            super().save(key, compiled)
            Watched(place.parts).save(key, compiled)  # the other process had got equally far

    module, kept = place.run(kept=Beside(place.parts))
    assert kept.names == ALL and module.whole(1.25) == RESULT
    module, kept = place.run()
    assert kept.names == [] and module.whole(1.25) == RESULT


@pytest.mark.parametrize("broken", ["no folder", "full disk", "unknown numba"])
def test_without_a_store_everything_is_compiled(
    place: Place, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if broken == "no folder":
        place.parts.rmdir()
    elif broken == "full disk":
        monkeypatch.setattr(Path, "replace", full)
        monkeypatch.setattr(FunctionCache, "_save_overload", full)
    else:
        monkeypatch.setattr(kept_parts, "AVAILABLE", False)
    for _ in range(2):
        module, kept = place.run()
        assert kept.names == ALL and module.whole(1.25) == RESULT
    assert not place.parts.exists() or not list(place.parts.iterdir())


def test_saved_parts_that_fail_to_link_are_deleted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run()
    changed = SOURCE.replace("middle(x) -", "middle(x) +")

    def broken(_module: Any, _libraries: Any) -> None:
        raise RuntimeError("LLVM can't link it")

    with monkeypatch.context() as patch:
        patch.setattr(libraries, "_link_parts", broken)
        with pytest.raises(RuntimeError):
            place.run(changed)
    module, kept = place.run(changed)
    assert sorted(kept.names) == sorted(ALL) and module.whole(1.25) == 10.25


def _of(view: Any) -> Any:
    cells: Callable[..., Any] = view._defn
    names = dict(zip(cells.__code__.co_freevars, cells.__closure__ or (), strict=True))
    return names["kind"].cell_contents


def test_types_survive_encoding_as_text() -> None:
    record = _of(views.voices).dtype
    kinds = [
        types.none, types.int64, types.float32, types.boolean, simd.lanes, record,
        types.literal(5), types.UniTuple(types.int64, 3), types.Tuple((types.int64, record)),
        types.Array(types.float32, 2, "A"), *map(_of, (views.rings, views.grids, views.meters)),
    ]  # fmt: skip
    for kind in kinds:
        assert type_of_json(type_as_json(kind)) == kind
    for kind in (types.unicode_type, types.Array(types.int8, 1, "C", readonly=True)):
        with pytest.raises(NoKey):
            type_as_json(kind)
