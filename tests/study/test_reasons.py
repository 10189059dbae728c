"""Reasons of many records, each told once."""

from study.reasons import merged


def test_numbers_that_differ_become_a_range() -> None:
    assert list(merged([("a", "3 cores used"), ("b", "1 cores used")])) == [("1 to 3 cores used", ["a", "b"])]


def test_an_interval_is_left_out_where_its_numbers_differ() -> None:
    """The text "5.40 to 5.47 (5.31 to 5.37 to 5.46 to 5.58)" says nothing."""
    reasons = [("a", "apart 5.40 (5.31 to 5.46), not 5.1"), ("b", "apart 5.47 (5.37 to 5.58), not 5.2")]
    assert list(merged(reasons)) == [("apart 5.40 to 5.47, not 5.1 to 5.2", ["a", "b"])]
    assert list(merged(reasons[:1])) == [("apart 5.40 (5.31 to 5.46), not 5.1", ["a"])]
