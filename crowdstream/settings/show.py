"""Settings as text, for `--show-config`."""

from crowdstream.settings.errors import one_line
from crowdstream.settings.files import nearest
from crowdstream.settings.resolve import Resolved
from crowdstream.settings.schema import OPTIONS, Option
from crowdstream.settings.toml import write_value

# One long path must not push every other line's origin off the screen.
WIDEST_COLUMN = 44


def format_settings(resolved: Resolved) -> str:
    """Every setting with its value and where it came from, one a line, in columns.

    The text is itself a TOML file that gives the same settings again; what cannot stand in
    one (a setting that has no value, the name of the file) is a comment. Relative paths from
    the command line stay relative, so for them the file belongs in the folder it was made in.
    """
    rows = []
    for option in OPTIONS.values():
        value = getattr(resolved.settings, option.name)
        left, right = _cells(option, value, resolved.settings.memory_mb)
        rows.append((left, right, resolved.origins[option.name]))
    wide = max(len(left) for left, _, _ in rows)
    room = max(len(right) for _, right, _ in rows if len(right) <= WIDEST_COLUMN)
    lines = [f"# {one_line(resolved.preset_reason)}"]
    lines += [f"{left:{wide}} = {right:{room}}  # {one_line(why)}" for left, right, why in rows]
    for variable in resolved.unknown_environment:
        known = (v for option in OPTIONS.values() for v in option.variables)
        lines.append(
            f"# {one_line(variable)} is no setting; the nearest one is {nearest(variable, known)}"
        )
    return "\n".join(lines)


def _cells(option: Option, value: object, memory_mb: int) -> tuple[str, str]:
    """The name and the value of a line; both are a comment where there is no value."""
    if value is None:
        size = f", {memory_mb} MB" if option.name == "memory" else ""
        return f"# {option.name}", f"({option.unset}{size})"
    text = _printable(write_value(value))
    return (f"# {option.name}" if option.name == "config" else option.name), text


def _printable(text: str) -> str:
    """`text` without what a terminal or a file can't take: file names may hold any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
