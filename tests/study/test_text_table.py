"""Tables of plain text: the width is kept, and nothing is lost."""

import re
import sys
from unittest.mock import Mock

import pytest

from study.text_table import terminal_width, text_table

HEADINGS = ("model", "mean median of all runs", "reason")
ROWS = [
    ("lenet", "12.5", "it has no operator that multiplies two matrices of this element type"),
    ("gap", "7", ""),
]
LEFT = (True, False, True)


def words(text: str) -> list[str]:
    return sorted(re.findall(r"[^\s-]+", text))


def test_without_a_limit_each_column_is_as_wide_as_its_longest_cell() -> None:
    assert text_table(("model", "n", "reason"), [("a", "12", "no operator"), ("b", "7", "")], LEFT).splitlines() == [
        "model   n  reason",
        "-----  --  -----------",
        "a      12  no operator",
        "b       7",
    ]


@pytest.mark.parametrize("width", [200, 80, 60, 40, 24])
def test_no_line_is_longer_than_the_width_and_no_word_is_lost(width: int) -> None:
    text = text_table(HEADINGS, ROWS, LEFT, width)
    assert max(map(len, text.splitlines())) <= width
    assert set(words(text)) == set(words(text_table(HEADINGS, ROWS, LEFT)))


def test_columns_that_do_not_fit_follow_below_with_the_names_of_the_rows() -> None:
    headings = ["name", "part", *(f"number{n}" for n in range(5))]
    rows = [["a", "x", *"01234"], ["a", "y", *"67890"]]
    first, second = text_table(headings, rows, [True, True, *[False] * 5], 40).split("\n\n")
    assert [line.split() for line in first.splitlines()[2:]] == [["a", "x", *"012"], ["a", "y", *"678"]]
    assert [line.split() for line in second.splitlines()] == [
        ["name", "part", "number3", "number4"],
        ["----", "----", "-------", "-------"],
        ["a", "x", "3", "4"],
        ["a", "y", "9", "0"],
    ]


def test_a_table_without_rows_has_its_headings() -> None:
    assert text_table(HEADINGS, [], LEFT, 24).splitlines()[0].startswith("model")


def test_the_width_is_that_of_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Mock(isatty=lambda: False))
    assert terminal_width() is None
    monkeypatch.setattr(sys, "stdout", Mock(isatty=lambda: True))
    assert terminal_width() == 80
