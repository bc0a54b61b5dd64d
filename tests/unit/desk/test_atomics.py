"""The functions stored as machine code match their assembler source."""

from __future__ import annotations

import ctypes
import platform
import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from crowdstream.desk import atomics

TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}


# LLVM 22 compiles a full barrier for x86 as a locked operation without effect. LLVM 20 does so only
# if it is written that way; it compiles `fence seq_cst` as `mfence`.
LOCKED_FENCE = """define void @fence(ptr %place) {
  %old = atomicrmw or ptr %place, i32 0 seq_cst
  ret void
}
"""


def function(name: str) -> str:
    """Return the LLVM source of a function."""
    [found] = [one for one in atomics.FUNCTIONS.split("define ") if f"@{name}(" in one]
    return f"define {found}"


def made_by_llvm(machine: str, name: str, source: str) -> tuple[str, bytes]:
    """Return LLVM's output for a function: assembler source and machine code."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(source)
    module.triple = TRIPLES[machine]
    found_target = llvm.Target.from_triple(TRIPLES[machine])
    target = found_target.create_target_machine(reloc="pic", codemodel="small")
    code = llvm.ObjectFileRef.from_data(target.emit_object(module))
    # Each section must be read before the next one is requested.
    found = b"".join(bytes(part.data()) for part in code.sections() if part.is_text())
    text = target.emit_assembly(module).replace(".LBB0_1:", "1: ").replace(".LBB0_1", "1b")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    said = [line for line in lines if re.match(r"1:|[a-z]", line) and not line.startswith(name)]
    return "; ".join(said).replace("1:; ", "1: "), found


@pytest.mark.parametrize("machine", TRIPLES)
@pytest.mark.parametrize("name", atomics.NAMES)
def test_the_stored_code_matches_llvms_output(machine: str, name: str) -> None:
    text, digits = atomics.CODE[machine][name]
    made = made_by_llvm(machine, name, function(name))
    if made[0] == "mfence; retq":
        made = made_by_llvm(machine, name, LOCKED_FENCE)
    assert made == (text, bytes.fromhex(digits))


@pytest.mark.parametrize("way", ["mapped", "compiled"])
def test_each_function_performs_its_operation(way: str) -> None:
    if way == "compiled" or platform.machine() not in TRIPLES:
        at = atomics.compile_code()
    else:
        at = atomics.map_code(platform.machine())
    assert set(at) == set(atomics.NAMES)
    cells = np.array([5, 12, -1], np.int64)
    address = int(cells.ctypes.data) + 8
    word = ctypes.c_int64

    def call(name: str, *arguments: int) -> int:
        types = [word] * len(arguments)
        return int(ctypes.PYFUNCTYPE(word, *types)(at[name])(*arguments))

    assert call("load_acquire", address) == 12
    call("store_release", address, -(2**62))
    assert call("load_acquire", address) == -(2**62)
    call("store_release32", address, 7)
    assert cells[1] == -(2**62) + 7
    call("atomic_add", address, 2**62 + 3)
    assert cells[1] == 10
    call("atomic_and", address, 6)
    call("fence")
    assert cells.tolist() == [5, 2, -1]


def test_code_of_another_architecture_is_refused() -> None:
    with pytest.raises(OSError, match="no code for"):
        atomics.map_code("riscv64")
