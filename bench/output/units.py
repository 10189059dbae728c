"""Durations in units that suit them."""

from collections.abc import Collection

UNITS = (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0))


def unit(seconds: Collection[float]) -> tuple[str, float]:
    """The largest unit that no duration is below; a larger one where the longest would have six digits in it."""
    smallest, largest = min(seconds), max(seconds)
    fitting = [(name, size) for name, size in UNITS if largest < 1e5 * size] or [UNITS[-1]]
    return next(((name, size) for name, size in reversed(fitting) if smallest >= size), fitting[0])


def readable(seconds: float) -> str:
    """Three digits and a unit, such as 27.3 µs."""
    name, size = unit([seconds])
    return f"{number(seconds / size, 3)} {name}"


def number(value: float, digits: int = 4) -> str:
    """A number above 0 with this many significant digits, or with all those before the point."""
    return f"{value:,.{decimals(value, digits)}f}"


def decimals(value: float, digits: int = 4) -> int:
    """How many decimals give a number above 0 this many significant digits."""
    before = int(f"{value:.{digits - 1}e}".partition("e")[2]) + 1  # as it is rounded
    return max(0, digits - before)
