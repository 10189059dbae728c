"""Columns: what a CSV file has of them, and how a page shows a value."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from analysis import tables as package
from analysis.tables.columns import Column, common_settings, frame, plain, read, text, write_as_json, write_frame
from analysis.tables.numbers import MINUS, MISSING, TIMES
from study.record_files import read_record
from study.records.analysis import TableRecord

NAMES = [module.name for module in pkgutil.iter_modules(package.__path__)]
WITHOUT_TABLES = ("columns", "headline", "numbers")
"""Modules of analysis.tables that serve the others."""
RATIO = Column("ratio", "of the times", "speed-up", ".2f", unit=TIMES, bounds=("low", "high"), valid="valid")
ERROR = Column("error", "a fraction", "error, %", ".2f", 100, deviation="std")


@pytest.mark.parametrize(
    ("column", "values", "shown"),
    [
        (Column("x", heading="x"), {"x": "a|b"}, "a|b"),
        (Column("x", heading="x"), {"x": None}, MISSING),
        (Column("x", heading="x", form=".1f", scale=1e6), {"x": -2.5e-6}, f"{MINUS}2.5"),
        (Column("x", heading="x", form=",d"), {"x": 12_502}, "12,502"),
        (Column("x", heading="x", form=",d"), {"x": float("nan")}, MISSING),
        (ERROR, {"error": 0.9231, "std": 0.0012}, "92.31 ± 0.12"),
        (ERROR, {"error": 0.9, "std": float("nan")}, "90.00"),
        (ERROR, {"error": None, "std": None}, MISSING),
        (RATIO, {"ratio": 7.341, "low": 7.28, "high": 7.4, "valid": True}, f"7.34{TIMES} (7.28 to 7.40)"),
        (RATIO, {"ratio": 7.0, "low": 7.0, "high": 7.0, "valid": False}, f"7.00{TIMES} †"),  # of one process
        (RATIO, {"ratio": 7.0, "low": 6.0, "high": 8.0, "valid": False}, f"7.00{TIMES} (6.00 to 8.00) †"),
    ],
)
def test_a_value_is_shown_with_its_unit_spread_interval_and_doubt(
    column: Column, values: dict[str, object], shown: str
) -> None:
    assert column.text(SimpleNamespace(**values)) == shown


def test_a_frame_has_just_its_columns_in_their_order_and_whole_numbers_stay_whole() -> None:
    columns = (Column("b", whole=True), Column("a"))
    made = frame(columns, [{"a": 1, "b": 2, "c": 3}, {"a": 4}])
    assert made.to_csv(index=False) == "b,a\n2,1\n,4\n"


def test_a_page_leaves_out_a_column_that_no_row_fills() -> None:
    columns = (Column("a", heading="A"), Column("b", heading="B", form=".1f"), Column("c", heading="C"))
    rows = [{"a": "x", "b": None, "c": ""}, {"a": "y", "b": None, "c": ""}]
    assert list(text(columns, frame(columns, rows))) == ["A"]
    assert list(text(columns, frame(columns, [*rows, {"a": "z", "b": 1.0, "c": ""}]))) == ["A", "B"]
    assert list(text(columns, frame(columns, []))) == ["A", "B", "C"]


def test_a_page_leaves_out_what_has_no_heading_and_settings_that_rows_share() -> None:
    columns = (Column("a", heading="A"), *plain("b"), *(Column(k, heading=k, setting=True) for k in ("one", "two")))
    made = frame(columns, [{"a": 1, "b": 2, "one": 1, "two": 1}, {"a": 1, "b": 2, "one": 1, "two": None}])
    assert common_settings(columns, made) == {"one": "1"}
    assert text(columns, made).to_dict("list") == {"A": ["1", "1"], "two": ["1.0", MISSING]}


@pytest.mark.parametrize(
    "module",
    [import_module(f"analysis.tables.{name}") for name in NAMES if name not in WITHOUT_TABLES],
)
def test_the_keys_of_a_table_are_unique_and_those_it_refers_to_are_its_own(module: ModuleType) -> None:
    tables = list(_tables(module))
    assert tables
    for table in tables:
        keys = [column.key for column in table]
        assert len(set(keys)) == len(keys)
        references = {key for column in table for key in (column.deviation, column.valid, *column.bounds)}
        assert references <= {"", *keys}


def _tables(module: ModuleType) -> Iterator[tuple[Column, ...]]:
    for name, value in vars(module).items():
        if name.isupper() and isinstance(value, tuple) and value and isinstance(value[0], Column):
            yield value


def test_a_model_called_na_is_no_missing_value(tmp_path: Path) -> None:
    pd.DataFrame({"model": ["NA", "null"], "value": [1.0, None]}).to_csv(tmp_path / "x.csv", index=False)
    assert read(tmp_path / "x.csv")["model"].tolist() == ["NA", "null"]


@pytest.mark.parametrize("names", [["1", "007"], ["1e5", "2"], ["True", "False"], ["-2", "3"]])
def test_names_that_look_like_numbers_stay_names(names: list[str], tmp_path: Path) -> None:
    written = pd.DataFrame({"model": names[::-1], "layer": names, "value": [1.0, None]})
    found = read(write_frame(tmp_path / "x.csv", written))
    assert (found["model"].tolist(), found["layer"].tolist()) == (names[::-1], names)
    assert found["value"].sum() == 1


def test_a_table_as_json_has_null_where_the_csv_is_empty(tmp_path: Path) -> None:
    write_as_json(tmp_path / "x.json", pd.DataFrame({"model": ["a", "b"], "value": [1.5, None]}))
    record = read_record(tmp_path / "x.json", TableRecord, "")
    assert (record.table, record.rows) == ("x", ({"model": "a", "value": 1.5}, {"model": "b", "value": None}))
