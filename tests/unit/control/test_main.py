"""What a control process takes over from an earlier one."""

from __future__ import annotations

from crowdstream.control.main import settings_in_effect
from crowdstream.control.startup import settings_as_json
from crowdstream.settings import validate


def test_settings_of_another_version_do_not_prevent_the_way_back() -> None:
    settings = validate(driver="null", buffer_size=512)
    saved = {**settings_as_json(settings), "a_setting_of_the_future": 3}
    assert settings_in_effect(saved) == settings
    del saved["http_port"]
    assert settings_in_effect(saved) == settings, "one that an earlier version did not have"
