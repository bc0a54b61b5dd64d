"""Loading of compiled kernels without the compiler: numba costs half a second and 100 MB.

numba leaves machine code in its cache. The first process takes it from there, tries it in a
separate process, and saves it in one file; later processes load that file with llvmlite alone. If
anything about the file is unexpected, numba is used.

A wheel contains such a file for any processor of its architecture (`contrib/wheel.py`), so that the
first start needs no compiler. `crowdstream compile` makes a faster one for the machine's processor.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import llvmlite.binding as llvm

from crowdstream.engine.jit import kernel_cache
from crowdstream.system.private_dirs import check_private
from crowdstream.system.process import PROJECT, child_environment

# Functions that only the wrappers for Python call, on paths that kernels never take.
_HELPERS = re.compile(rb"\0((?:numba|NRT)_\w+)(?=\0)")
_NEVER = """
declare void @llvm.trap()
define void @crowdstream_never() {
  call void @llvm.trap()
  unreachable
}
"""
TRIAL_SECONDS = 60.0
_RARELY = (100_000, 50, 1000)
_PACKAGE = PROJECT / "crowdstream"


class Kernels(NamedTuple):
    """The engine's entry points. All arguments are addresses and integers."""

    begin_block: Callable[[int, int, int, int], None]
    render_at: Callable[[int, int, int], None]
    end_block: Callable[[int, int, int], None]
    recover: Callable[[int], None]


class _Code(NamedTuple):
    name: str  # of the function with C calling convention
    arguments: int
    machine_code: bytes


@cache
def load_made() -> Kernels | None:
    """Load the kernels of the current sources; None if they have not been compiled."""
    return _made(_file()) or _shipped()


@cache
def kernels() -> Kernels:
    """Return the kernels of the current sources, and compile them if necessary."""
    return load_made() or compile_here()


def compile_here() -> Kernels:
    """Return the kernels for this machine's processor, and compile them if necessary."""
    path = _file()
    if made := _made(path):
        return made
    if "crowdstream.engine.render" in sys.modules and path.exists():
        return _compiled()  # already compiled: no need to wait for another compiling process
    with kernel_cache.compiling():
        return _made(path) or _make(path)


def _made(path: Path) -> Kernels | None:
    # The file of an earlier process, or of one that has finished meanwhile.
    if "crowdstream.engine.render" not in sys.modules and _trusted(path):
        try:
            return load(path)
        except Exception:  # damaged: it is created again
            with contextlib.suppress(OSError):
                path.unlink()
    return None


def _shipped() -> Kernels | None:
    # The file that was installed with the program, if its sources have not changed.
    if "crowdstream.engine.render" in sys.modules:
        return None
    try:
        return load(shipped_file(), kernel_cache.digest())
    except Exception:
        return None


def shipped_file(package: Path = _PACKAGE) -> Path:
    """Path of the machine code for any processor of this architecture in a package."""
    return package / "engine" / f"kernels-{platform.machine()}.code"


def _make(path: Path) -> Kernels:
    compiled = _compiled()
    if not path.exists():
        with contextlib.suppress(Exception):  # the next start will take just as long
            _save(compiled, path)
    return compiled


def _compiled() -> Kernels:
    # The compiler creates millions of objects and keeps nearly all of them: with the default
    # thresholds, garbage collection takes an eighth of its time.
    usual = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    try:
        from crowdstream.engine.render import render_at
        from crowdstream.engine.schedule.ledger import begin_block, end_block
        from crowdstream.engine.undo_log import recover
    finally:
        gc.set_threshold(*usual)
    return Kernels(begin_block, render_at, end_block, recover)


def ship(package: Path) -> None:
    """Write the kernels, as numba compiles them in this process, into a copy of the package.

    numba's own environment variables select the processor; set them before numba is imported.
    """
    codes = [_code(entry) for entry in _compiled()]
    with shipped_file(package).open("wb") as file:
        _write(file, codes)


def _file() -> Path:
    """Return the path of the code for these sources, this compiler and this processor."""
    digest = hashlib.sha256(kernel_cache.digest().encode())
    for name in ("numba", "llvmlite"):
        found = importlib.util.find_spec(name)
        status = os.stat(found.origin) if found and found.origin else None
        digest.update(f"{name} {status and status.st_mtime_ns}".encode())
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    digest.update(f"{processor} {platform.python_version()}".encode())
    return kernel_cache.folder() / f"{digest.hexdigest()[:16]}.code"


def _trusted(path: Path) -> bool:
    # Whether the file exists and no other user can have created it.
    try:
        check_private(path.parent)
    except OSError:
        return False
    return path.exists()


def _save(compiled: Kernels, path: Path) -> None:
    codes = [_code(entry) for entry in compiled]
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part") as part:
        _write(part, codes)
        part.flush()
        # Loading code with an undefined symbol would end the process, so a child process tries it.
        trial = f"from crowdstream.engine.precompiled import load; load({part.name!r})"
        subprocess.run(
            [sys.executable, "-P", "-c", trial], cwd=PROJECT, check=True, capture_output=True,
            timeout=TRIAL_SECONDS, env=child_environment(),
        )  # fmt: skip
        os.link(part.name, path)


def _code(entry: Any) -> _Code:
    """Return the machine code of an entry point from numba's cache."""
    from numba import types

    (arguments,) = entry.signatures
    store = entry._cache
    key = store._index_key(types.void(*arguments), entry.targetctx.codegen())
    _name, kind, (machine_code, _bitcode) = store._cache_file.load(key)[0]
    if kind != "object":
        raise ValueError(f"numba's cache contains {kind} instead of object code")
    name = entry.overloads[arguments].fndesc.llvm_cfunc_wrapper_name
    return _Code(name, len(arguments), machine_code)


def load(path: Path | str, sources: str = "") -> Kernels:
    """Load the kernels from a file of machine code. Raises if it was made from other `sources`."""
    return Kernels(*(_function(code) for code in _read(Path(path).read_bytes(), sources)))


def _write(file: IO[bytes], codes: list[_Code]) -> None:
    # A line of JSON, then the machine code of each entry point.
    entries = [(code.name, code.arguments, len(code.machine_code)) for code in codes]
    head = {"sources": kernel_cache.digest(), "entries": entries}
    file.write(json.dumps(head).encode() + b"\n")
    for code in codes:
        file.write(code.machine_code)


def _read(data: bytes, sources: str = "") -> list[_Code]:
    at = data.index(b"\n") + 1
    head = json.loads(data[: at - 1])
    if sources and head["sources"] != sources:
        raise ValueError("it was made from other sources")
    codes = []
    for name, arguments, length in head["entries"]:
        if at + length > len(data):
            raise ValueError("the file is truncated")
        codes.append(_Code(name, arguments, data[at : at + length]))
        at += length
    return codes


def _function(code: _Code) -> Callable[..., None]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_NEVER), machine)
    never = engine.get_function_address("crowdstream_never")
    for helper in set(_HELPERS.findall(code.machine_code)):
        if llvm.address_of_symbol(helper.decode()) is None:
            llvm.add_symbol(helper.decode(), never)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.machine_code))
    engine.finalize_object()
    address = engine.get_function_address(code.name)
    if not address:
        raise ValueError(f"there is no function {code.name}")
    # The call keeps the GIL, as with numba.
    made = ctypes.PYFUNCTYPE(None, *[ctypes.c_int64] * code.arguments)(address)
    made.__dict__["engine"] = engine  # owns the code
    return made
