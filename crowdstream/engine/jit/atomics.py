"""Kernel operations that numpy does not offer: ordered loads and stores, denormal handling."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from crowdstream.engine.jit import (  # noqa: F401  (sets the cache folder before numba is used)
    compile,
)

_INT64 = ir.IntType(64)


@intrinsic
def load_acquire(typingctx: Any, address: Any) -> Any:
    """Read the int64 at `address`. Everything written before its release is visible afterwards."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], _INT64.as_pointer())
        return builder.load_atomic(place, "acquire", 8, typ=_INT64)

    return types.int64(types.int64), codegen


@intrinsic
def store_release(typingctx: Any, address: Any, value: Any) -> Any:
    """Write the int64 `value` to `address`, after all preceding writes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], _INT64.as_pointer())
        builder.store_atomic(args[1], place, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def fence(typingctx: Any) -> Any:
    """A full barrier: no load or store is reordered across it, on any core."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


_INT32 = ir.IntType(32)


@intrinsic
def load_acquire32(typingctx: Any, address: Any) -> Any:
    """Read the int32 at `address`, ordered like `load_acquire`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], _INT32.as_pointer())
        return builder.load_atomic(place, "acquire", 4, typ=_INT32)

    return types.int32(types.int64), codegen


# Bits of the floating-point control register: flush-to-zero, and on x86 also denormals-are-zero.
_X86 = platform.machine() in ("x86_64", "AMD64")
_FLUSH = 0x8040 if _X86 else 1 << 24


@intrinsic
def flush_denormals(typingctx: Any) -> Any:
    """Treat denormals as zero in this thread; return the previous control register."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        before = _read_control(builder)
        _write_control(builder, builder.or_(before, ir.Constant(before.type, _FLUSH)))
        return builder.zext(before, _INT64) if _X86 else before

    return types.int64(), codegen


@intrinsic
def restore_control(typingctx: Any, register: Any) -> Any:
    """Restore the control register from the value that `flush_denormals` returned."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _write_control(builder, builder.trunc(args[0], _INT32) if _X86 else args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _control_call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    # LLVM intrinsics access the register: numba cannot assemble inline code on every machine.
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _read_control(builder: Any) -> Any:
    if not _X86:
        return _control_call(builder, "llvm.aarch64.get.fpcr", _INT64, [])
    place = cgutils.alloca_once(builder, _INT32)
    pointed = builder.bitcast(place, cgutils.voidptr_t)
    _control_call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [pointed])
    return builder.load(place)


def _write_control(builder: Any, value: Any) -> None:
    if not _X86:
        _control_call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [value])
        return
    place = cgutils.alloca_once(builder, _INT32)
    builder.store(value, place)
    pointed = builder.bitcast(place, cgutils.voidptr_t)
    _control_call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [pointed])
