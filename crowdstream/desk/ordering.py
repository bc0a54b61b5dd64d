"""Ordered loads and stores for processes that do without numba.

Two small functions in LLVM's own language, compiled when this module is imported (10 ms).
Control and loader are spared numba that way: 40 MB each, and a third of a second.
On x86 they are ordinary moves, on ARM `ldapr` or `ldar` and `stlr`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm

_FUNCTIONS = """
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


def _compile() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_FUNCTIONS), machine)
    engine.finalize_object()
    return engine


_ENGINE = _compile()  # owns the code: has to live as long as the functions
_INT64 = ctypes.c_int64


def _function(name: str, *types: Any) -> Any:
    return ctypes.PYFUNCTYPE(*types)(_ENGINE.get_function_address(name))


load_acquire = _function("load_acquire", _INT64, _INT64)
"""`load_acquire(address)`: the int64 there. What was written before its release is visible."""

store_release = _function("store_release", None, _INT64, _INT64)
"""`store_release(address, value)`: write an int64 after all that was written before."""

store_release32 = _function("store_release32", None, _INT64, ctypes.c_int32)
"""`store_release32(address, value)`: the same for an int32."""

atomic_add = _function("atomic_add", None, _INT64, _INT64)
"""`atomic_add(address, value)`: add to an int64 that other processes change, too."""

atomic_and = _function("atomic_and", None, _INT64, _INT64)
"""`atomic_and(address, mask)`: keep only some bits of such an int64."""

fence = _function("fence", None)
"""`fence()`: no load or store moves across it, on any core."""
