"""The command line and its subcommands."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import crowdstream
from crowdstream.system.process import exit_quietly_on_broken_pipe

USAGE = """\
usage: crowdstream COMMAND [options]

  demo      mix four generated tracks, with a server of its own (crowdstream demo --help)
  serve     run the server (crowdstream serve --help lists its options)
  render    render a set to a sound file, faster than real time (crowdstream render --help)
  analyze   find tracks and analyze them (crowdstream analyze --help)
  plan      plan a set of analysed tracks (crowdstream plan --help)
  dj        play a set or a folder on a running server (crowdstream dj --help)
  simulate-crowd  send the movement of a simulated crowd, for testing
  top       show decks, meters and health of a running server (crowdstream top --help)
  doctor    check this machine and recommend changes (crowdstream doctor --help)
  compile   compile the kernels, so that the first start is as fast as later ones
  reference write the generated pages of the documentation: crowdstream reference docs/reference
            (without a folder: print the OSC reference)
  --version print the version
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `crowdstream COMMAND ...`; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_quietly_on_broken_pipe(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["serve"]:
        from crowdstream.supervisor.main import supervise

        return supervise(arguments[1:], "crowdstream serve")
    if arguments[:1] == ["demo"]:
        from crowdstream.demo.runner import main as demo

        return demo(arguments[1:])
    if arguments[:1] == ["render"]:
        from crowdstream.offline.cli import render

        return render(arguments[1:])
    if arguments[:1] == ["plan"]:
        from crowdstream.dj.cli import run_plan

        return run_plan(arguments[1:])
    if arguments[:1] == ["dj"]:
        from crowdstream.dj.autopilot.cli import run_dj

        return run_dj(arguments[1:])
    if arguments[:1] == ["simulate-crowd"]:
        from crowdstream.dj.autopilot.simulate_crowd import run_simulation

        return run_simulation(arguments[1:])
    if arguments[:1] == ["analyze"]:
        from crowdstream.library.cli import analyze

        return analyze(arguments[1:])
    if arguments[:1] == ["top"]:
        from crowdstream.top.cli import top

        return top(arguments[1:])
    if arguments[:1] == ["doctor"]:
        from crowdstream.doctor.cli import doctor

        return doctor(arguments[1:])
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return 0
    if arguments == ["--version"]:
        print(f"crowdstream {crowdstream.__version__}")
        return 0
    if arguments == ["compile"]:
        return compile_kernels()
    if arguments[:1] == ["reference"] and len(arguments) <= 2:
        return write_reference(arguments[1:])
    if arguments[:1] == ["compile"]:
        print("crowdstream: compile takes no arguments", file=sys.stderr)
    elif arguments[:1] == ["reference"]:
        print("crowdstream: reference takes one folder", file=sys.stderr)
    elif arguments:
        print(f"crowdstream: there is no command {arguments[0]!r}", file=sys.stderr)
    print(USAGE, end="", file=sys.stderr)
    return 2


def compile_kernels() -> int:
    """Compile every kernel into the cache, and delete kernels of old versions."""
    begin = time.monotonic()
    from crowdstream.engine.jit import kernel_cache
    from crowdstream.engine.jit.part_store import PartStore
    from crowdstream.engine.jit.stale_caches import prune
    from crowdstream.engine.precompiled import compile_here

    # Before compiling: where access times are not recorded, files in use look old, too.
    deleted = prune([kernel_cache.folder()])
    with contextlib.suppress(OSError):
        PartStore(kernel_cache.parts_folder()).prune()
    with kernel_cache.report_progress(partial(print, flush=True)):
        compile_here()
    print(f"kernels ready after {time.monotonic() - begin:.1f} s")
    if deleted:
        print(f"deleted the kernels of {deleted} older versions, unused for a month")
    return 0


def write_reference(arguments: Sequence[str]) -> int:
    """Write the generated pages into a folder, or print the OSC reference."""
    if not arguments:
        from crowdstream.control.osc_reference import osc_pages

        print("\n".join(osc_pages().values()), end="")
        return 0
    from crowdstream.reference import write

    folder = Path(arguments[0])
    if not folder.is_dir():
        print(f"crowdstream: {folder} is not a folder: name docs/reference", file=sys.stderr)
        return 2
    for path in write(folder):
        print(f"written: {path}")
    return 0
