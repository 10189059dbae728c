"""The seal of a JSON file that is read again later: its last key, the SHA-256 of all its other values.

It covers the values, not their spelling: white space may change, a digit may not. Each member is taken as the JSON of
its key and value as msgspec writes it, with sorted keys: ten times as fast as the standard library, which counts in a
bench.json of a gigabyte. tests/study/test_seal.py holds it to a known digest, whichever version is installed.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

KEY = "sha256"


class SealOfPieces:
    """The seal of an object whose members, or the elements of some of them, come one after the other."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.expected: object = None

    def add(self, key: str, value: object) -> None:
        """Take the next piece; the seal itself is the value that is expected.

        Raises:
            ValueError: it cannot be written: an integer of over 64 bits, or half of a surrogate pair.
        """
        if key == KEY:
            self.expected = value
            return
        try:
            self.hash.update(msgspec.json.encode([key, value], order="deterministic"))
        except (OverflowError, RecursionError) as error:  # no such value was ever sealed
            raise ValueError(f"{key}: {error}") from None

    def digest(self) -> str:
        """SHA-256 of the pieces so far, as 64 hexadecimal digits."""
        return self.hash.hexdigest()

    def damage(self, needed: bool = True) -> str:
        """What is wrong, in words; "" if the seal is that of the values, or missing and not `needed`."""
        if self.expected is None:
            return f"expected the key `{KEY}` with the digest of its values, found none" if needed else ""
        if (found := self.digest()) != self.expected:
            return f"expected values of sha256 {str(self.expected)[:16]}..., found {found[:16]}...: it was changed"
        return ""


def _seal(content: Mapping[str, Any]) -> SealOfPieces:
    seal = SealOfPieces()
    for key in sorted(content):
        seal.add(key, content[key])
    return seal


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their seal as the last key."""
    return {key: value for key, value in content.items() if key != KEY} | {KEY: _seal(content).digest()}


def damage(content: Mapping[str, Any]) -> str:
    """What is wrong with a sealed file, in words; "" if the seal is that of the values."""
    try:
        return _seal(content).damage()
    except ValueError as error:
        return f"expected values that were written, found others: {error}"
