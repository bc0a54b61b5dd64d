"""The functions of `desk.atomics`, compiled by llvmlite for machines without stored code."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm

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
NAMES = (
    "load_acquire", "store_release", "store_release32", "atomic_add", "atomic_and", "fence",
)  # fmt: skip

_engines: list[Any] = []  # they own the code, which must live as long as the process


def compile_code() -> dict[str, int]:
    """Compile the functions for this machine, which takes 10 ms, and return their addresses."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(FUNCTIONS), machine)
    engine.finalize_object()
    _engines.append(engine)
    return {name: engine.get_function_address(name) for name in NAMES}
