"""Merge reasons of many records that differ only in their numbers."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

INTERVAL = re.compile(r" \([0-9.]+ to [0-9.]+\)")
NUMBER = re.compile(r"[+-]?\b[0-9]+(?:\.[0-9]+)?\b")


def merged(reasons: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Each reason once, with ranges in place of numbers that differ, and the names of its records.

    `("a", "3 cores used"), ("b", "1 cores used")` gives `("1 to 3 cores used", ["a", "b"])`.
    """
    alike = defaultdict(list)
    for name, reason in reasons:
        alike[NUMBER.sub("0", reason)].append((name, reason))
    for records in alike.values():
        yield _with_ranges([reason for _, reason in records]), [name for name, _ in records]


def _with_ranges(texts: list[str]) -> str:
    """The text that all of these share, with a range where their numbers differ; their intervals are left out then."""
    if len(set(texts)) > 1:
        texts = [INTERVAL.sub("", text) for text in texts]
    ranges = iter([sorted(set(numbers), key=float) for numbers in zip(*map(NUMBER.findall, texts), strict=True)])

    def span(_: re.Match[str]) -> str:
        numbers = next(ranges)
        return numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"

    return NUMBER.sub(span, texts[0])
