"""Ordered loads and stores for processes that do not import numba.

Six functions of a few instructions each, stored as machine code for the architectures that servers
run on. Importing numba would cost each process 100 MB, and llvmlite alone 13 MB. The assembler
source stands beside each function's machine code, which is what LLVM generates from
`FUNCTIONS`; a test compares all three. On other systems, llvmlite compiles the functions.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from typing import Any

NAMES = (
    "load_acquire", "store_release", "store_release32", "atomic_add", "atomic_and", "fence",
)  # fmt: skip
_ALIGNMENT = 16  # bytes: each function starts on this boundary

# By architecture and function: assembler source and machine code. Every function runs on the first
# version of its architecture and refers to nothing outside itself.
CODE: dict[str, dict[str, tuple[str, str]]] = {
    "x86_64": {
        "load_acquire": ("movq (%rdi), %rax; retq", "48 8b 07 c3"),
        "store_release": ("movq %rsi, (%rdi); retq", "48 89 37 c3"),
        "store_release32": ("movl %esi, (%rdi); retq", "89 37 c3"),
        "atomic_add": ("lock addq %rsi, (%rdi); retq", "f0 48 01 37 c3"),
        "atomic_and": ("lock andq %rsi, (%rdi); retq", "f0 48 21 37 c3"),
        "fence": ("lock orl $0, -64(%rsp); retq", "f0 83 4c 24 c0 00 c3"),
    },
    "aarch64": {
        "load_acquire": ("ldar x0, [x0]; ret", "00 fc df c8 c0 03 5f d6"),
        "store_release": ("stlr x1, [x0]; ret", "01 fc 9f c8 c0 03 5f d6"),
        "store_release32": ("stlr w1, [x0]; ret", "01 fc 9f 88 c0 03 5f d6"),
        "atomic_add": (
            "1: ldaxr x8, [x0]; add x8, x8, x1; stlxr w9, x8, [x0]; cbnz w9, 1b; ret",
            "08 fc 5f c8 08 01 01 8b 08 fc 09 c8 a9 ff ff 35 c0 03 5f d6",
        ),
        "atomic_and": (
            "1: ldaxr x8, [x0]; and x8, x8, x1; stlxr w9, x8, [x0]; cbnz w9, 1b; ret",
            "08 fc 5f c8 08 01 01 8a 08 fc 09 c8 a9 ff ff 35 c0 03 5f d6",
        ),
        "fence": ("dmb ish; ret", "bf 3b 03 d5 c0 03 5f d6"),
    },
}


def map_code(machine: str) -> dict[str, int]:
    """Map the code for an architecture into executable memory and return the functions' addresses.

    The mapping lasts as long as the process. It is never writable and executable at the same time.
    Raises `OSError` if the system refuses the mapping or if there is no code for this architecture
    or system.
    """
    if machine not in CODE or sys.platform != "linux" or sys.maxsize < 1 << 32:
        raise OSError(f"there is no code for {sys.platform} on {machine}")
    whole = b""
    places = {}
    for name, (_text, digits) in CODE[machine].items():
        whole += bytes(-len(whole) % _ALIGNMENT)
        places[name] = len(whole)
        whole += bytes.fromhex(digits)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    whole_number, number = ctypes.c_size_t, ctypes.c_int
    libc.mmap.argtypes = [ctypes.c_void_p, whole_number, number, number, number, ctypes.c_long]
    fd = os.memfd_create("crowdstream-code", os.MFD_CLOEXEC)
    try:
        os.write(fd, whole)
        rights = mmap.PROT_READ | mmap.PROT_EXEC
        address = libc.mmap(None, len(whole), rights, mmap.MAP_PRIVATE, fd, 0)
    finally:
        os.close(fd)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "no executable memory")
    return {name: address + place for name, place in places.items()}


# The same functions as LLVM source, for other architectures.
FUNCTIONS = """
define i64 @load_acquire(i64 %address) {
  %place = inttoptr i64 %address to ptr
  %value = load atomic i64, ptr %place acquire, align 8
  ret i64 %value
}
define void @store_release(i64 %address, i64 %value) {
  %place = inttoptr i64 %address to ptr
  store atomic i64 %value, ptr %place release, align 8
  ret void
}
define void @atomic_add(i64 %address, i64 %value) {
  %place = inttoptr i64 %address to ptr
  %before = atomicrmw add ptr %place, i64 %value seq_cst
  ret void
}
define void @atomic_and(i64 %address, i64 %value) {
  %place = inttoptr i64 %address to ptr
  %before = atomicrmw and ptr %place, i64 %value seq_cst
  ret void
}
define void @fence() {
  fence seq_cst
  ret void
}
define void @store_release32(i64 %address, i32 %value) {
  %place = inttoptr i64 %address to ptr
  store atomic i32 %value, ptr %place release, align 4
  ret void
}
"""

_engines: list[Any] = []  # they own the compiled code, which must live as long as the process


def compile_code() -> dict[str, int]:
    """Compile the functions for this machine, which takes 10 ms, and return their addresses."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(FUNCTIONS), machine)
    engine.finalize_object()
    _engines.append(engine)
    return {name: engine.get_function_address(name) for name in NAMES}


def _addresses() -> dict[str, int]:
    try:
        return map_code(platform.machine())
    except OSError:
        return compile_code()


_INT64 = ctypes.c_int64
_AT = _addresses()


def _function(name: str, *types: Any) -> Any:
    return ctypes.PYFUNCTYPE(*types)(_AT[name])


load_acquire = _function("load_acquire", _INT64, _INT64)
"""`load_acquire(address)`: read an int64. Everything written before its release is visible."""

store_release = _function("store_release", None, _INT64, _INT64)
"""`store_release(address, value)`: write an int64 after all preceding writes."""

store_release32 = _function("store_release32", None, _INT64, ctypes.c_int32)
"""`store_release32(address, value)`: the same for an int32."""

atomic_add = _function("atomic_add", None, _INT64, _INT64)
"""`atomic_add(address, value)`: add to an int64 that other processes also modify."""

atomic_and = _function("atomic_and", None, _INT64, _INT64)
"""`atomic_and(address, mask)`: clear bits of an int64 that other processes also modify."""

fence = _function("fence", None)
"""`fence()`: a full barrier. No load or store is reordered across it, on any core."""
