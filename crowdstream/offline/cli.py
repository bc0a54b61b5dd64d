"""`crowdstream render`: render a set to a sound file."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crowdstream.desk.constants import INPUTS
from crowdstream.settings import SettingError, Settings
from crowdstream.settings.cli import add_duration, add_flags, duration_of, read_flags
from crowdstream.settings.errors import Parser
from crowdstream.settings.schema import OPTIONS

if TYPE_CHECKING:
    from crowdstream.offline.cues import Set
    from crowdstream.offline.progress import Progress
    from crowdstream.offline.renderer import Summary

# Settings that affect the sound of a mix or whether it fits into memory. The user's configuration
# is ignored: the same set gives the same mix everywhere.
MIX_SETTINGS = ("sample_rate", "bpm", "base_bpm", "meter", "cache_mb")
FORMATS = ("16", "24", "float")
DEFAULT_FORMAT = "24"  # 144 dB, and supported by all programs
INTERRUPTED = 130  # the status that shells use for a program ended by Ctrl-C

_DESCRIPTION = "Render a set to a sound file: the samples that the server would play, faster."
_EPILOG = "Set files, and where a mix ends: docs/reference/set-files.md."


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of this subcommand."""
    parser = Parser(
        prog="crowdstream render", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("set", type=Path, metavar="SET", help="timed commands, or an OSC score")
    parser.add_argument("out", type=Path, metavar="OUT", help="a name ending in .wav or .flac")
    add_duration(parser, "end after this time (default: see below)")
    parser.add_argument(
        "--format", choices=FORMATS, default=DEFAULT_FORMAT,
        help=f"bits per sample, or 32-bit float (default: {DEFAULT_FORMAT})",
    )  # fmt: skip
    parser.add_argument(
        "--input", type=Path, action="append", default=[], metavar="FILE",
        help="an audio file that plays on the live input from the beginning; twice for both inputs",
    )  # fmt: skip
    for name in MIX_SETTINGS:
        option = OPTIONS[name]
        default = option.unset if option.default is None else f"{option.default:g}"
        text = f"{option.help}: {option.kind.allowed} (default: {default})"
        add_flags(parser.add_argument, option, text.replace("%", "%%"), metavar=option.metavar)
    parser.add_argument(
        "--explain", action="store_true", help="explain why each track of a DJ's set was chosen"
    )
    parser.add_argument("--quiet", action="store_true", help="print errors and warnings only")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    given = read_flags(vars(options), MIX_SETTINGS)
    values: dict[str, Any] = {name: value for name, (value, _) in given.items()}
    return Settings(**values)


def render(argv: Sequence[str]) -> int:
    """Run the subcommand. Returns its exit status: 1 if no file was written, 2 for wrong usage."""
    # Set this before numpy is imported: its threads for large matrices, which are not used here,
    # would each spin for a while. Garbage collection is disabled during the imports, because
    # everything that they create stays alive; scanning it would take a tenth of the startup time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    parser = build_parser()
    options = parser.parse_args(list(argv))
    duration = options.duration = duration_of(parser, options)
    if duration is not None and not 0.0 < duration <= 1e6:
        parser.error(f"--duration {duration:g}: must be more than 0, up to 1e6")
    if len(options.input) > INPUTS:
        parser.error(f"--input: there are {INPUTS} inputs, not {len(options.input)}")
    try:
        settings = _settings(options)
    except SettingError as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return 2
    before = {
        number: signal.signal(number, _raise_interrupt)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    # Failures are reported on stderr, together with the line of the set that caused them.
    logging.getLogger("crowdstream").addHandler(logging.NullHandler())
    try:
        return _render(options, settings)
    except KeyboardInterrupt:
        print(f"crowdstream: interrupted, {options.out} was not written", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _print_message(text: str) -> None:
    print(f"crowdstream: {text}", file=sys.stderr)


def _render(options: argparse.Namespace, settings: Settings) -> int:
    begin = time.monotonic()
    # Read the set first: its errors are reported before anything large is loaded.
    from crowdstream.dj.setfile.errors import SetError
    from crowdstream.offline.set_formats import DJ_SUFFIX, read_set

    planned = options.set.suffix.lower() == DJ_SUFFIX
    try:
        mix = read_set(options.set)
        if options.explain and not planned:
            raise SetError(f"{options.set}: --explain needs a DJ's set, a {DJ_SUFFIX} file")
    except SetError as error:
        print(f"crowdstream: {error}", file=sys.stderr)
        return 1
    from crowdstream.audiofile.errors import AudioFileError
    from crowdstream.desk.block import DeskError
    from crowdstream.engine.jit import kernel_cache
    from crowdstream.engine.precompiled import kernels
    from crowdstream.offline.output import OutputError
    from crowdstream.offline.progress import Progress
    from crowdstream.offline.renderer import PagesMissing, RenderError

    gc.freeze()
    gc.enable()
    progress = Progress(sys.stderr, sys.stderr.isatty() and not options.quiet, settings.sample_rate)
    try:
        say: Callable[[str], object] = str if options.quiet else _print_message
        with kernel_cache.report_progress(say):
            kernels()
        try:
            summary = _write(options, settings, mix, progress, whole=False)
        except PagesMissing:
            # A playhead moved outside the read-ahead, as in reverse: render again with all files
            # loaded.
            summary = _write(options, settings, mix, progress, whole=True)
    except (OutputError, RenderError, DeskError, AudioFileError) as error:
        progress.close()
        print(f"crowdstream: {error}", file=sys.stderr)
        return 1
    except BaseException:
        progress.close()
        raise
    progress.close()
    for warning in summary.warnings:
        print(f"crowdstream: {warning}", file=sys.stderr)
    if planned:
        from crowdstream.offline.dj_set import write_plot

        try:
            write_plot(options.set, options.out.with_suffix(".svg"), options.explain)
        except (OSError, SetError) as error:  # the set may have been edited or moved meanwhile
            reason = error.strerror if isinstance(error, OSError) else error
            print(f"crowdstream: the plot can't be written ({reason})", file=sys.stderr)
    if not options.quiet:
        length, took = summary.frames / settings.sample_rate, time.monotonic() - begin
        print(
            f"{options.out}: {length:.3f} s in {took:.2f} s, {length / took:.0f} times real time"
        )
    return 0


def _write(
    options: argparse.Namespace, settings: Settings, mix: Set, progress: Progress, whole: bool
) -> Summary:
    from crowdstream.desk.constants import PAGE_BYTES
    from crowdstream.loader.loader import budget_pages
    from crowdstream.offline.output import Output
    from crowdstream.offline.renderer import Renderer
    from crowdstream.offline.session import Session

    rate = settings.sample_rate
    memory = budget_pages(settings.effective_cache_mb) * PAGE_BYTES
    with (
        Output(options.out, rate, options.format) as output,
        Session(settings, memory, rate, whole=whole, inputs=options.input) as session,
    ):
        summary = Renderer(session, mix, output.write, progress.show).run(options.duration)
        output.finish()
    return summary
