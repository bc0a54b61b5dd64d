"""Settings files: TOML files, presets, and the user's configuration."""

from collections.abc import Mapping
from pathlib import Path

from crowdstream.settings import toml
from crowdstream.settings.errors import SettingError, wrong_value
from crowdstream.settings.names import find_option, merge_names, wrong_setting
from crowdstream.settings.schema import NOT_IN_FILES, Option
from crowdstream.settings.types import Refused
from crowdstream.system.replace_file import replace_file
from crowdstream.system.text import MAX_SETTINGS_BYTES

# In a wheel, a folder of the package; in the project, a link to configs/, because users are meant
# to open and edit presets.
PRESETS = (Path(__file__).resolve().parents[1] / "configs").resolve()

# Files in that folder that are no presets: a template for the user's file, movement maps, and an
# example of a schedule.
EXAMPLES = frozenset({"example", "movement", "crowd", "schedule"})


def read_settings(
    data: bytes, path: Path, origin: str, refused: frozenset[str]
) -> dict[str, object]:
    """Return the checked settings in a TOML file's bytes, by name; paths unchanged.

    `refused` are settings that must not be in such a file. Raises `SettingError`.
    """
    given: list[tuple[Option, object, str]] = []
    for key, value in toml.parse(data, path).items():
        option = find_option(key, origin)
        if option.name in refused:
            raise SettingError(f"{key} ({origin}) cannot be set there: use {option.flag}")
        try:
            read = option.kind.read(value)
        except Refused:
            raise wrong_setting(option, key, value, origin) from None
        given.append((option, read, f"{key} in {origin}"))
    return {name: value for name, (value, _) in merge_names(given).items()}


def read_bytes(path: Path, origin: str) -> bytes:
    """Read a settings file; of a file that is too long, only the beginning.

    Raises `SettingError` with the reason if it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingError(
            f"config: {str(path)!r} ({origin}) is not a file that can be read: {reason}"
        ) from None


def may_exist(path: Path) -> bool:
    """Whether there is a file at `path`, or may be one in a folder that can't be searched."""
    try:
        return path.exists()
    except OSError:
        return True


def preset_names(folder: Path = PRESETS) -> list[str]:
    """Sorted names of the presets in `folder`; empty if it does not exist."""
    return sorted(p.stem for p in folder.glob("*.toml") if p.stem not in EXAMPLES)


def user_config_path(environ: Mapping[str, str], home: Path | None = None) -> Path:
    """Path of the user's configuration file, whether it exists or not.

    This is `$XDG_CONFIG_HOME/crowdstream/config.toml`, by default in `~/.config`.
    """
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # the XDG specification requires ignoring relative paths
        base = home_folder(environ, home) / ".config"
    return base / "crowdstream" / "config.toml"


def state_folder(environ: Mapping[str, str], home: Path | None = None) -> Path:
    """Folder of what the server keeps for its user: `$XDG_STATE_HOME/crowdstream`.

    By default that is in `~/.local/state`. A system service has a folder of its own, the first of
    `$STATE_DIRECTORY`.
    """
    service = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if service:
        return Path(service)
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():
        base = home_folder(environ, home) / ".local" / "state"
    return base / "crowdstream"


def home_folder(environ: Mapping[str, str], home: Path | None = None) -> Path:
    """Return `home` if given, else the environment's HOME, else the user database's."""
    if home is not None:
        return home
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry in the user database, as in some containers
        return Path("/")


def save_user_setting(
    name: str, value: object, environ: Mapping[str, str], home: Path | None = None
) -> Path:
    """Set one key in the user's configuration file; returns the file's path.

    `name` may be an alias. A file that already contains the setting, under any of its names, keeps
    that name. The file is created if necessary; its other lines stay unchanged. It is replaced
    atomically, so a reader sees either the old or the new file. Raises `SettingError` for a wrong
    name or value, for a file that is not valid TOML (which is left unchanged), or if it can't be
    written.
    """
    path = user_config_path(environ, home)
    origin = f"file {path}"
    option = find_option(name, origin)
    if option.name in NOT_IN_FILES:
        raise SettingError(f"{name} ({origin}) cannot be set there: use {option.flag}")
    try:
        checked = option.kind.read(value)
    except Refused:
        raise wrong_setting(option, name, value, origin) from None
    data = read_bytes(path, origin) if may_exist(path) else b""
    present = toml.parse(data, path)
    text = toml.decode(data)
    try:
        for key in [one for one in option.names if one in present] or [option.name]:
            text = toml.set_key(text, key, checked)
        new = text.encode("utf-8")
    except UnicodeEncodeError:
        raise wrong_value(name, value, origin, "text that UTF-8 can hold") from None
    except ValueError as error:
        raise SettingError(f"{name}: {origin} cannot be changed: {error}") from None
    try:
        _replace(path, new)
    except OSError as error:
        raise SettingError(
            f"{name}: {origin} cannot be written: {error.strerror or error}"
        ) from None
    return path


def _replace(path: Path, data: bytes) -> None:
    """Replace the file at `path` atomically, keeping its mode and a symbolic link to it."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o644
    replace_file(target, data, mode)


TOKEN_FILE = "http-token"  # nosec B105  # the name of the file


def token_folders(environ: Mapping[str, str]) -> list[Path]:
    """Folders that may hold the page's token, in order of preference."""
    found = [user_config_path(environ).parent]
    found += [Path(text) for text in environ.get("STATE_DIRECTORY", "").split(":")[:1] if text]
    cache = environ.get("XDG_CACHE_HOME") or str(home_folder(environ) / ".cache")
    return [*found, Path(cache) / "crowdstream"]
