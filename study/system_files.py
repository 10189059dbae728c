"""Read single values from /proc and /sys, or from a folder that looks like them."""

from pathlib import Path

ROOT = Path("/")
"""Contains /proc and /sys."""
CPUS = "sys/devices/system/cpu"


def read(file: Path) -> str | None:
    """The text of a file without surrounding spaces; None if it cannot be read or is empty."""
    try:
        return file.read_text(errors="replace").strip() or None
    except OSError:
        return None


def number(file: Path) -> int | None:
    """The whole number in a file, or None."""
    text = read(file) or ""
    return int(text) if text.removeprefix("-").isdecimal() else None


def numbers(text: str) -> list[int]:
    """The numbers of a list such as "0-3,8", in their order; without spaces around the commas.

    Raises:
        ValueError: it is no such list.
    """
    listed: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)) or (dash and int(last) < int(first)):
            raise ValueError(f"expected numbers and ranges such as 0-3,8; found {text!r}")
        listed += range(int(first), int(last or first) + 1)
    return listed


def cpu_list(file: Path) -> list[int] | None:
    """The cores of a list in /sys such as "0-3,8"; None if it cannot be read."""
    try:
        return numbers(read(file) or "")
    except ValueError:
        return None
