"""No class or module of the program uses private names of another."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.environment import PROJECT

# Public despite the underscore: the documentation of Python lists these names.
PUBLIC = {"_exit", "_replace", "_asdict", "_fields"}

# (file, private name): the reason why there is no alternative.
ALLOWED = {
    ("crowdstream/engine/jit/libraries.py", "library._get_module_for_linking"): "numba links whole "
    "libraries, and a kernel links only the functions that it calls",
    (
        "crowdstream/engine/jit/kept_parts.py",
        "library._get_module_for_linking",
    ): "a compiled part is "
    "stored as the code that its callers link; an import-time check verifies that numba has them",
    ("crowdstream/engine/jit/kept_parts.py", "library._reload_init"): "as above",
    ("crowdstream/engine/jit/kept_parts.py", "FunctionIdentity._unique_ids"): "as above",
    (
        "crowdstream/engine/precompiled.py",
        "entry._cache",
    ): "numba's cache holds the machine code, and numba has no public name for it",
    ("crowdstream/engine/precompiled.py", "store._index_key"): "as entry._cache",
    ("crowdstream/engine/precompiled.py", "store._cache_file"): "as entry._cache",
    ("crowdstream/engine/jit/views.py", "array._getvalue"): "the last step of numba's intrinsics",
    ("crowdstream/reference.py", "parser._actions"): "argparse has no public list of the arguments "
    "that a parser takes",
    ("crowdstream/offline/output.py", "soundfile._snd"): "soundfile has no name for libsndfile's "
    "command that converts a short RF64 file to a plain WAV file",
    ("crowdstream/offline/output.py", "soundfile._ffi"): "as soundfile._snd",
    ("crowdstream/offline/output.py", "file._file"): "as soundfile._snd",
}


def own_names(node: ast.ClassDef) -> set[str]:
    """The names that a class defines: attributes set on `self`, class attributes, methods."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            if isinstance(part.value, ast.Name) and part.value.id == "self":
                found.add(part.attr)
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(part.name)
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            found.add(line.target.id)
        elif isinstance(line, ast.Assign):
            found |= {one.id for one in line.targets if isinstance(one, ast.Name)}
    return found


def own_base(node: ast.expr) -> bool:
    """Whether the expression is the object itself or its class."""
    if isinstance(node, ast.Name):
        return node.id in ("self", "cls")
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "super"


def is_private(name: str) -> bool:
    """Whether a name has a single leading underscore and is not a public name of Python."""
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def findings(source: str) -> list[str]:
    """Private names that a module uses of other objects, in source order.

    A class may use its own private names on another object, which is then of the same class.
    """
    return list(_found(ast.parse(source), set()))


def _found(node: ast.AST, own: set[str]) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        own = own | own_names(node)
    elif isinstance(node, ast.Attribute):
        if is_private(node.attr) and node.attr not in own and not own_base(node.value):
            yield ast.unparse(node)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"import of {one.name}" for one in node.names if is_private(one.name))
    for child in ast.iter_child_nodes(node):
        yield from _found(child, own)


def test_no_module_uses_private_names_of_another() -> None:
    files = sorted((PROJECT / "crowdstream").rglob("*.py"))
    assert len(files) > 200
    found = {
        (str(path.relative_to(PROJECT)), finding)
        for path in files
        for finding in findings(path.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED), "an exception that is no longer needed is removed"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("other._value", ["other._value"]),
        ("class A:\n    def f(self, b):\n        return self.b._kept", ["self.b._kept"]),
        ("def f(self, other):\n    return self.other._go()", ["self.other._go"]),
        ("from crowdstream.system.text import _words", ["import of _words"]),
        ("class A:\n    def f(self, b):\n        b._kept = 1", ["b._kept"]),
        ("class A:\n    def f(self): self._a = 1\n\n\ndef g(a): return a._a", ["a._a"]),
    ],
)
def test_a_foreign_private_name_is_reported(source: str, expected: list[str]) -> None:
    assert findings(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def f(self): return self._a + super()._b",
        "class A:\n    @classmethod\n    def f(cls): return cls._a",
        "class A:\n    def __init__(self): self._a = 1\n    def like(self, b): return b._a",
        "class A:\n    def make(self): A()._go()\n    def _go(self): ...",
        "os._exit(1)\nplace._replace(x=1)\nthing.__name__",
    ],
)
def test_an_own_private_name_is_not_reported(source: str) -> None:
    assert findings(source) == []
