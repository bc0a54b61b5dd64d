"""SIMD vectors of eight float32: left and right of all four decks, in one or two registers.

Compilers do not vectorize loops over an array that the kernel also writes to, because the arrays
might overlap. Kernels therefore get a vector type with `+`, `-`, `*` and a few functions.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from crowdstream.desk.constants import LANES
from crowdstream.engine.jit import (  # noqa: F401  (sets the cache folder before numba is used)
    compile,
)
from crowdstream.engine.jit.kept_parts import named_type

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
BYTES = 4 * LANES

# Permit fused multiply-add, as in the other kernels.
_FLAGS = ("contract", "nsz")


class Lanes(types.Type):  # type: ignore[misc]
    """The numba type of a vector of eight lanes."""

    def __init__(self) -> None:
        super().__init__(name="crowdstream.lanes")


lanes = named_type(Lanes())


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _declare(symbol: Any, instruction: str) -> None:
    @type_callable(symbol)
    def _type(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            return lanes if a is lanes and b is lanes else None

        return typer

    @lower_builtin(symbol, Lanes, Lanes)
    def _lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=_FLAGS)


_declare(operator.add, "fadd")
_declare(operator.sub, "fsub")
_declare(operator.mul, "fmul")


@intrinsic
def load(typingctx: Any, address: Any) -> Any:
    """Load the eight float32 at `address`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], _VECTOR.as_pointer())
        return builder.load(place, align=4, typ=_VECTOR)

    return lanes(types.int64), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any) -> Any:
    """Store a vector to `address`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, lanes), codegen


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """Broadcast one float32 to all eight lanes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        empty = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(empty, args[0], ir.Constant(ir.IntType(32), 0))
        pick = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, empty, pick)

    return lanes(types.float32), codegen


def _intrinsic(builder: Any, name: str, result: Any, args: Any) -> Any:
    # Call an LLVM intrinsic, which compiles to instructions rather than a call.
    kind = ir.FunctionType(result, [arg.type for arg in args])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, args)


@intrinsic
def magnitude(typingctx: Any, value: Any) -> Any:
    """Return the absolute value of each lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _intrinsic(builder, f"llvm.fabs.v{LANES}f32", _VECTOR, args)

    return lanes(lanes), codegen


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the larger of `a` and `b` in each lane; finite numbers only."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return lanes(lanes, lanes), codegen


@intrinsic
def largest(typingctx: Any, value: Any) -> Any:
    """Return the largest of the eight lanes as float32; finite numbers only."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = args[0]
        width = LANES
        while width > 1:
            width //= 2
            index = ir.VectorType(ir.IntType(32), width)
            parts = [
                builder.shuffle_vector(
                    value, value, ir.Constant(index, list(range(begin, begin + width)))
                )
                for begin in (0, width)
            ]
            value = builder.select(builder.fcmp_ordered(">", *parts), *parts)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float32(lanes), codegen


@intrinsic
def sums(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the sums over the lanes of two vectors, as two float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Both reductions side by side: add the halves of both vectors, then the halves of these,
        # and so on.
        first, second = args
        half = LANES // 2
        low = [*range(half), *range(LANES, LANES + half)]
        while True:
            index = ir.VectorType(ir.IntType(32), 2 * half)
            parts = [
                builder.shuffle_vector(first, second, ir.Constant(index, [at + by for at in low]))
                for by in (0, half)
            ]
            first = second = builder.fadd(*parts, flags=_FLAGS)
            if half == 1:
                break
            half //= 2
            low = [*range(half), *range(2 * half, 3 * half)]
        both = [builder.extract_element(first, ir.Constant(ir.IntType(32), at)) for at in (0, 1)]
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(types.float32, 2)(lanes, lanes), codegen
