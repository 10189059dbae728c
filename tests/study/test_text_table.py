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


def test_columns_that_do_not_fit_follow_below_with_the_first_one() -> None:
    headings = ["name", *(f"number{n}" for n in range(6))]
    rows = [["a", *"012345"], ["b", *"678901"]]
    first, second = text_table(headings, rows, [True, *[False] * 6], 40).split("\n\n")
    assert [line.split() for line in first.splitlines()[2:]] == [["a", *"0123"], ["b", *"6789"]]
    assert [line.split() for line in second.splitlines()] == [
        ["name", "number4", "number5"],
        ["----", "-------", "-------"],
        ["a", "4", "5"],
        ["b", "0", "1"],
    ]


def test_a_table_without_rows_has_its_headings() -> None:
    assert text_table(HEADINGS, [], LEFT, 24).splitlines()[0].startswith("model")


def test_the_width_is_that_of_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Mock(isatty=lambda: False))
    assert terminal_width() is None
    monkeypatch.setattr(sys, "stdout", Mock(isatty=lambda: True))
    assert terminal_width() == 80
