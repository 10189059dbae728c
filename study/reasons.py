"""Reasons of many records, each told once."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

NUMBER = re.compile(r"[+-]?\b[0-9]+(?:\.[0-9]+)?\b")


def told_once(reasons: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Reasons that differ in numbers alone as one, with the names of the records they are of.

    `("a", "3 cores used"), ("b", "1 cores used")` gives `("1 to 3 cores used", ["a", "b"])`.
    """
    alike = defaultdict(list)
    for name, reason in reasons:
        alike[NUMBER.sub("0", reason)].append((name, reason))
    for found in alike.values():
        yield _with_ranges([reason for _, reason in found]), [name for name, _ in found]


def _with_ranges(texts: list[str]) -> str:
    """The one text that all of these are but for their numbers."""
    ranges = iter([sorted(set(numbers), key=float) for numbers in zip(*map(NUMBER.findall, texts), strict=True)])

    def span(_: re.Match[str]) -> str:
        numbers = next(ranges)
        return numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"

    return NUMBER.sub(span, texts[0])
