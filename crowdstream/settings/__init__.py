"""Settings: declared once, read from flags, environment, files and presets, and explained.

    resolved = resolve(sys.argv[1:])        # raises SettingError, exits on --help
    resolved.settings.buffer_size           # an int, in range
    resolved.origins["buffer_size"]         # "flag --buffer-size"
    resolved.preset_reason                  # "preset desktop (no Raspberry Pi found)"

Only the standard library is imported, so that `--help` starts quickly.
"""

from crowdstream.settings.cli import build_parser
from crowdstream.settings.errors import SettingError
from crowdstream.settings.files import save_user_setting, state_folder, user_config_path
from crowdstream.settings.machine import default_cache_mb
from crowdstream.settings.resolve import Resolved, resolve, validate
from crowdstream.settings.schema import OPTIONS, Option, Settings
from crowdstream.settings.show import format_settings

__all__ = [
    "OPTIONS",
    "Option",
    "Resolved",
    "SettingError",
    "Settings",
    "build_parser",
    "default_cache_mb",
    "format_settings",
    "resolve",
    "save_user_setting",
    "state_folder",
    "user_config_path",
    "validate",
]
