"""Source checks: no shell, no `eval`, no pickle, imports only between permitted folders, and one
value for each constant."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.environment import PROJECT, bare_environment

FOLDERS = ("crowdstream", "examples", "benchmarks", "contrib", "tests")

# Modules that deserialise bytes into objects, and so into calls, or that run code;
# multiprocessing sends pickled objects to other processes.
UNSAFE_MODULES = {
    "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "multiprocessing", "pickle",
    "shelve", "yaml", "code", "codeop", "runpy", "xmlrpc", "telnetlib",
}  # fmt: skip
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
RUNS_SHELL = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell", "pty.spawn",
}  # fmt: skip
STARTS = {"run", "Popen", "call", "check_call", "check_output"}

# (file, finding): the reason why it is accepted.
ALLOWED = {
    ("tests/unit/audiofile/test_reader_bad_input.py", "import of pickle"): "unpickles only what it "
    "has pickled itself, to check that the errors survive pickling",
}


def name_of(node: ast.expr) -> str:
    """The dotted name of an expression, such as `os.system`; empty for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = name_of(node.value)
        return f"{base}.{node.attr}" if base else node.attr
    return ""


def is_true(node: ast.expr) -> bool:
    """Whether the expression may be true: anything but the constant False."""
    return not (isinstance(node, ast.Constant) and node.value is False)


def is_text(node: ast.expr) -> bool:
    """Whether the expression is a string literal, an f-string or a concatenation with one."""
    if isinstance(node, ast.BinOp):
        return is_text(node.left) or is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def in_call(node: ast.Call) -> Iterator[str]:
    """The problems of one call."""
    name = name_of(node.func)
    last = name.rpartition(".")[2]
    if name in RUNS_TEXT or name.removeprefix("builtins.") in RUNS_TEXT:
        yield f"call of {last}"
    if name in RUNS_SHELL or name.startswith("os.spawn"):
        yield f"call of {name}"
    if name.startswith("subprocess.") and last in STARTS and node.args and is_text(node.args[0]):
        yield f"{name} of a text"
    for keyword in node.keywords:
        if keyword.arg == "shell" and is_true(keyword.value):
            yield "shell=True"
        if keyword.arg == "allow_pickle" and is_true(keyword.value):
            yield "allow_pickle=True"


Nodes = list[ast.Import | ast.ImportFrom | ast.Call]


def nodes_in(tree: ast.Module) -> Nodes:
    """The imports and calls of a module; most checks use no other nodes."""
    return [
        node for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)
    ]


def nodes_of(source: str) -> Nodes:
    """`nodes_in` a module with this text."""
    return nodes_in(ast.parse(source))


def findings(nodes: Nodes) -> list[str]:
    """All problems of a module, in source order."""
    found: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            modules = [base]
            names = {f"{base}.{alias.name}" for alias in node.names}
            found += [f"import of {name}" for name in sorted(names & RUNS_SHELL)]
        else:
            found += in_call(node)
            continue
        found += [f"import of {m}" for m in modules if m.partition(".")[0] in UNSAFE_MODULES]
    return found


def modules() -> list[Path]:
    """Every Python module of the project."""
    found = list(PROJECT.glob("*.py"))
    for folder in FOLDERS:
        found += (PROJECT / folder).rglob("*.py")
    return sorted(found)


def test_no_module_uses_a_shell_evaluates_text_or_unpickles() -> None:
    assert len(modules()) > 350
    found = {
        (str(path.relative_to(PROJECT)), finding)
        for path in modules()
        for finding in looked_at(path).findings
    }
    assert found == set(ALLOWED), "an exception that is no longer needed is removed"


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')", "exec(x)", "compile(x, '', 'exec')", "__import__('os')", "builtins.eval(x)",
        "import os\nos.system('ls')", "os.popen(x)", "os.spawnl(0, 'ls')", "from os import system",
        "import pickle", "from pickle import loads", "import pickle as p", "import marshal",
        "import shelve", "import yaml", "from yaml import load", "import multiprocessing.pool",
        "def f():\n    import dill", "subprocess.run(x, shell=True)",
        "subprocess.Popen(x, shell=maybe)", "subprocess.run('ls')", "subprocess.run(f'ls {x}')",
        "subprocess.check_output('ls ' + x)", "subprocess.getoutput(x)",
        "asyncio.create_subprocess_shell(x)", "np.load(f, allow_pickle=True)",
    ],
)  # fmt: skip
def test_each_unsafe_construct_is_reported(source: str) -> None:
    assert findings(nodes_of(source))


@pytest.mark.parametrize(
    "source",
    [
        "re.compile('x')", "subprocess.run(['ls', x], shell=False)", "model.eval()",
        "subprocess.run([*words], check=True)", "np.load(f)", "ast.literal_eval(x)",
    ],
)  # fmt: skip
def test_harmless_code_is_not_reported(source: str) -> None:
    assert not findings(nodes_of(source))


def test_no_script_evaluates_text() -> None:
    scripts = [*PROJECT.glob("*.sh"), *PROJECT.glob("contrib/**/*.sh")]
    assert len(scripts) >= 4
    for script in scripts:
        for line in script.read_text(encoding="utf-8").splitlines():
            code = line.partition("#")[0]
            assert not re.search(r"(^|[;&|({\s])eval\s", code), f"{script.name}: {line}"


def test_no_page_evaluates_text() -> None:
    for folder in ("crowdstream", "examples", "docs"):
        for page in (PROJECT / folder).rglob("*"):
            # The folder of the built documentation contains scripts of Sphinx.
            if page.suffix in (".js", ".mjs", ".html") and "_build" not in page.parts:
                text = page.read_text(encoding="utf-8")
                assert not re.search(r"\b(eval|new Function|document\.write)\s*\(", text), page


# Imports between tests, benchmarks and tools ----------------------------------------------------

NOT_INSTALLED = ("pytest", "hypothesis", "playwright", "pyloudnorm", "matplotlib", "scipy")
"""Packages that the tests need but the start script does not install."""

IMPORT_ALL = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} is not installed by the start script")

blocked, modules = sys.argv[1].split(","), sys.argv[2].split(",")
sys.meta_path.insert(0, Blocker())
for module in modules:
    try:
        importlib.import_module(module)
    except ImportError as error:
        print(f"{module}: {error}")
"""


def imported(nodes: Nodes) -> set[str]:
    """Full names of all modules and objects that a module imports, inside functions too."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports_of(folders: Iterable[str], package: str) -> dict[str, list[str]]:
    """For each module in `folders`, the names that it imports from a package."""
    found = {}
    for folder in folders:
        for path in sorted((PROJECT / folder).rglob("*.py")):
            names = [n for n in looked_at(path).imports if n.partition(".")[0] == package]
            found[str(path.relative_to(PROJECT))] = sorted(names)
    assert found
    return found


def test_benchmarks_and_tools_import_only_support_code_from_tests() -> None:
    for path, names in imports_of(("benchmarks", "contrib", "examples"), "tests").items():
        assert not [name for name in names if not name.startswith("tests.support.")], path


def test_only_tests_of_benchmarks_import_from_benchmarks() -> None:
    for path, names in imports_of(("crowdstream", "examples", "contrib"), "benchmarks").items():
        assert not names, path
    for path, names in imports_of(("tests",), "benchmarks").items():
        assert not names or Path(path).parent.name == "benchmarks", path


def test_support_code_imports_no_test() -> None:
    for path, names in imports_of(("tests/support",), "tests").items():
        assert not [name for name in names if not name.startswith("tests.support.")], path


def test_every_benchmark_imports_only_packages_that_the_start_script_installs() -> None:
    folder = PROJECT / "benchmarks"
    # The Python of another program runs these scripts; only that Python has its package.
    scripts = folder / "renderers" / "scripts"
    paths = [path for path in sorted(folder.rglob("*.py")) if scripts not in path.parents]
    names = [".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in paths]
    child = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT_ALL, ",".join(NOT_INSTALLED), ",".join(names)],
        env=bare_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    assert len(names) > 50


def scratch_environments(nodes: Nodes) -> list[int]:
    """Lines of calls that start a process with an environment written from scratch.

    Such a child lacks the project's folder of compiled kernels and the settings of coverage.py. A
    dictionary that unpacks another one, or that a function returns, is assumed to contain them.
    """
    starts = {f"subprocess.{name}" for name in STARTS}
    starts |= {"Popen", "asyncio.create_subprocess_exec", "create_subprocess_exec"}
    return [
        node.lineno
        for node in nodes
        if isinstance(node, ast.Call) and name_of(node.func) in starts
        for keyword in node.keywords
        if keyword.arg == "env"
        and isinstance(keyword.value, ast.Dict)
        and all(key is not None for key in keyword.value.keys)
    ]


def python_files(*folders: str) -> list[Path]:
    """Every Python module below these folders of the project."""
    return [path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]


def test_no_test_or_benchmark_starts_a_process_with_an_environment_from_scratch() -> None:
    files = python_files("tests", "benchmarks")
    assert len(files) > 250
    found = {
        f"{path.relative_to(PROJECT)}:{line}"
        for path in files
        for line in looked_at(path).scratch_environments
    }
    assert not found, "use tests.support.environment.child_environment()"


@pytest.mark.parametrize(
    ("call", "bad"),
    [
        ("subprocess.run(x, env={})", True), ("subprocess.run(x, env={'A': '1'})", True),
        ("Popen(x, env={'A': b})", True), ("asyncio.create_subprocess_exec(x, env={})", True),
        ("subprocess.run(x, env={**os.environ, 'A': '1'})", False),
        ("subprocess.run(x, env=child_environment(A='1'))", False),
        ("subprocess.run(x, env=env)", False), ("server(x, env={'A': '1'})", False),
    ],
)  # fmt: skip
def test_an_environment_from_scratch_is_reported(call: str, bad: bool) -> None:
    assert bool(scratch_environments(nodes_of(call))) == bad


SERVERS = {"server", "launched", "SharedServer"}


def imported_servers(nodes: Nodes) -> set[str]:
    """The helpers that run a whole server which a module imports from tests.support.server."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "tests.support.server":
            found |= {alias.name for alias in node.names} & (SERVERS | {"*"})
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name == "tests.support.server"}
        elif isinstance(node, ast.ImportFrom) and node.module == "tests.support":
            found |= {alias.name for alias in node.names if alias.name == "server"}
    return found


def test_no_unit_test_imports_a_server() -> None:
    files = python_files("tests/unit")
    assert len(files) > 150
    found = {
        f"{path.relative_to(PROJECT)}: {name}"
        for path in files
        for name in looked_at(path).servers
    }
    assert not found, "move these tests to tests/integration"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("from tests.support.server import server, until", {"server"}),
        ("from tests.support.server import *", {"*"}),
        ("import tests.support.server", {"tests.support.server"}),
        ("from tests.support import server", {"server"}),
        ("from tests.support.server import until", set()),
    ],
)  # fmt: skip
def test_an_imported_server_is_reported(line: str, names: set[str]) -> None:
    assert imported_servers(nodes_of(line)) == names


def constants_assigned_twice(tree: ast.Module) -> list[str]:
    """The constants of a module or of its classes that a later line silently replaces."""
    found: list[str] = []
    bodies = [tree.body, *(one.body for one in tree.body if isinstance(one, ast.ClassDef))]
    for body in bodies:
        seen: set[str] = set()
        for node in body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                targets = [node.target]
            for target in targets:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                names = {part.id for part in parts if isinstance(part, ast.Name)}
                found += sorted(name for name in names & seen if name.isupper())
                seen |= names
    return found


def test_no_constant_is_assigned_twice() -> None:
    found = {
        f"{path.relative_to(PROJECT)}: {name}"
        for path in modules()
        for name in looked_at(path).assigned_twice
    }
    assert not found, "the second value applies to every use of the first one as well"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("A = 1\nB = 2\nA = 3", ["A"]),
        ("A, B = 1, 2\nB: int = 3", ["B"]),
        ("class C:\n    A = 1\n    A = 2", ["A"]),
        ("A = 1\nclass C:\n    A = 2", []),
        ("A: int\nA = 1\nfound = 1\nfound = 2", []),
        ("if x:\n    A = 1\nelse:\n    A = 2", []),
    ],
)
def test_a_constant_that_is_assigned_twice_is_reported(source: str, names: list[str]) -> None:
    assert constants_assigned_twice(ast.parse(source)) == names


class Looked(NamedTuple):
    """The results of all checks of one file."""

    findings: list[str]
    imports: set[str]
    scratch_environments: list[int]
    servers: set[str]
    assigned_twice: list[str]


@functools.cache
def looked_at(path: Path) -> Looked:
    """Read and parse a file, once for all tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = nodes_in(tree)
    return Looked(
        findings(nodes), imported(nodes), scratch_environments(nodes), imported_servers(nodes),
        constants_assigned_twice(tree),
    )  # fmt: skip
