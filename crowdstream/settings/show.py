"""Settings as text, for `--show-config`."""

from crowdstream.settings.errors import one_line
from crowdstream.settings.names import nearest
from crowdstream.settings.resolve import Resolved
from crowdstream.settings.schema import OPTIONS, Option
from crowdstream.settings.toml import write_value

# A wider value, such as a long path, must not push the origins of all lines off the screen.
WIDEST_COLUMN = 44


def format_settings(resolved: Resolved) -> str:
    """Format every setting with its value and origin, one per line, in columns.

    The text is itself a TOML file with the same settings. Entries that can't be in such a file
    (settings without a value, the file's own name) are comments. Relative paths from the command
    line stay relative, so for them the file belongs in the folder in which it was created.
    """
    rows = []
    for option in OPTIONS.values():
        value = getattr(resolved.settings, option.name)
        left, right = _cells(option, value, resolved.settings.effective_cache_mb)
        rows.append((left, right, resolved.origins[option.name]))
    wide = max(len(left) for left, _, _ in rows)
    room = max(len(right) for _, right, _ in rows if len(right) <= WIDEST_COLUMN)
    lines = [f"# {one_line(resolved.preset_reason)}"]
    lines += [f"{left:{wide}} = {right:{room}}  # {one_line(why)}" for left, right, why in rows]
    for variable in resolved.unknown_environment:
        known = {v: option.variables[0] for option in OPTIONS.values() for v in option.variables}
        lines.append(
            f"# {one_line(variable)} is not a setting; the nearest one is "
            f"{known[nearest(variable, known)]}"
        )
    return "\n".join(lines)


def _cells(option: Option, value: object, cache_mb: int) -> tuple[str, str]:
    """The name and the value of a line; a name without a value is a comment."""
    if value is None:
        size = f", {cache_mb} MB" if option.name == "cache_mb" else ""
        return f"# {option.name}", f"({option.unset}{size})"
    text = _printable(write_value(value))
    return (f"# {option.name}" if option.name == "config" else option.name), text


def _printable(text: str) -> str:
    """Escape what a terminal or a file can't represent: file names may contain any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
