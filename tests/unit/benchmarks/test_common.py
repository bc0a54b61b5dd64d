"""Helpers of all benchmarks."""

import json
from pathlib import Path

import pytest

from benchmarks import common


def test_median_of_odd_and_even_numbers() -> None:
    assert common.median([3.0, 1.0, 2.0]) == 2.0
    assert common.median([4.0, 1.0, 2.0, 3.0]) == 2.5


def test_percentile_is_a_value_that_occurred() -> None:
    values = [float(value) for value in range(1, 11)]
    assert common.percentile(values, 90) == 9.0
    assert common.percentile(values, 100) == 10.0
    assert common.percentile([5.0], 1) == 5.0


def test_table_aligns_columns() -> None:
    lines = common.table([{"a": "1", "long": "x"}, {"a": "100", "long": "y"}]).splitlines()
    assert lines == ["  a  long", "  1     x", "100     y"]


def test_machine_describes_processor_and_python() -> None:
    found = common.machine()
    assert found["cores"] >= 1
    assert found["processor"]
    assert str(found["python"]) in common.machine_text()


def test_json_is_written_to_the_given_path(tmp_path: Path) -> None:
    common.write_json(tmp_path / "new" / "a.json", [{"x": 1}])
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == [{"x": 1}]
    common.write_json(None, [])


def test_progress_prints_each_step_once(capsys: pytest.CaptureFixture[str]) -> None:
    bar = common.Progress(2)
    bar.add(1, "first")
    bar.add(0.5, "first")
    bar.add(5, "second")
    bar.close()
    assert capsys.readouterr().err.splitlines() == [" 50% first", "100% second"]
