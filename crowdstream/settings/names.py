"""The names of settings: search by name or alias, and merge the values given under both."""

import difflib
from collections.abc import Iterable

from crowdstream.settings.errors import SettingError, short_repr, wrong_value
from crowdstream.settings.schema import BY_NAME, Option

# Minimum length of a prefix that identifies the intended name.
MIN_PREFIX = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of `known` most similar to `word`; names that begin with it take precedence."""
    names = list(known)
    longer = sorted(name for name in names if len(word) > MIN_PREFIX and name.startswith(word))
    if longer:
        return longer[0]
    return difflib.get_close_matches(word, names, n=1, cutoff=0.0)[0]


def find_option(name: str, origin: str) -> Option:
    """Return the setting with this name or alias. Raises `SettingError` if there is none."""
    if name not in BY_NAME:
        similar = BY_NAME[nearest(name.lower(), BY_NAME)].name
        raise SettingError(f"{name} ({origin}) is not a setting; the nearest one is {similar}")
    return BY_NAME[name]


def wrong_setting(option: Option, name: str, value: object, origin: str) -> SettingError:
    """Return the error for a `value` that a setting, given by `name`, does not allow."""
    return wrong_value(name, value, origin, option.kind.allowed, option.kind.secret)


def merge_names(given: Iterable[tuple[Option, object, str]]) -> dict[str, tuple[object, str]]:
    """Return the value and the origin of each setting, by the setting's name.

    `given` are settings, values and origins from one place (the command line, the environment, a
    file). A setting may be given under several of its names. Raises `SettingError`, which names
    both origins, if the values differ.
    """
    merged: dict[str, tuple[object, str]] = {}
    for option, value, origin in given:
        first, first_origin = merged.setdefault(option.name, (value, origin))
        if first != value:
            raise SettingError(
                f"{option.name}: {short_repr(first)} ({first_origin}) and {short_repr(value)} "
                f"({origin}) differ; both set {option.name}, so remove one of them"
            )
    return merged
