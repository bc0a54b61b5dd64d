"""The one error of this package, and how values appear in its message."""

# A value is quoted in a message only up to here: the message is one line of a terminal.
SHOWN_CHARACTERS = 60


class SettingError(ValueError):
    """A setting is wrong. `str(error)` is one line naming the setting, its value, where
    the value came from, and what is allowed; a command line prints it and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """`text` with line breaks and other unprintable characters written as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def shown(value: object) -> str:
    """`value` as it is quoted in a message: its repr, shortened when it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python is willing to print
        text = f"({type(value).__name__} too large to print)"
    if len(text) > SHOWN_CHARACTERS:
        return text[: SHOWN_CHARACTERS - 3] + "..."
    return text


def wrong_value(name: str, value: object, origin: str, allowed: str) -> SettingError:
    """The error for a `value` that is not what setting `name` allows."""
    return SettingError(f"{name}: {shown(value)} ({origin}) is not {allowed}")
