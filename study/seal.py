"""The seal of a JSON file that is read again later: its last key, the SHA-256 of all its other values.

It covers the values, not their spelling: white space may change, a digit may not. Each member is taken as the JSON of
its key and value with sorted keys, no white space, ASCII characters alone and Python's shortest numbers.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY = "sha256"


class SealOfPieces:
    """The seal of an object whose members, or the elements of some of them, come one after the other."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.expected: object = None
        self.finite = True

    def add(self, key: str, value: object) -> None:
        """Take the next piece; the seal itself is the value that is expected."""
        if key == KEY:
            self.expected = value
            return
        try:
            text = json.dumps([key, value], sort_keys=True, separators=(",", ":"), allow_nan=False)
        except ValueError:
            self.finite = False
        else:
            self.hash.update(text.encode() + b"\n")

    def digest(self) -> str:
        """SHA-256 of the pieces so far, as 64 hexadecimal digits.

        Raises:
            ValueError: a number is not finite.
        """
        if not self.finite:
            raise ValueError("Out of range: expected finite numbers")
        return self.hash.hexdigest()

    def damage(self, needed: bool = True) -> str:
        """What is wrong, in words; "" if the seal is that of the values, or missing and not `needed`."""
        if not self.finite:
            return "expected finite numbers, found one that is not"
        if self.expected is None:
            return f"expected the key `{KEY}` with the digest of its values, found none" if needed else ""
        if (found := self.digest()) != self.expected:
            return f"expected values of sha256 {str(self.expected)[:16]}..., found {found[:16]}...: it was changed since"
        return ""


def _seal(content: Mapping[str, Any]) -> SealOfPieces:
    seal = SealOfPieces()
    for key in sorted(content):
        seal.add(key, content[key])
    return seal


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values with their seal as the last key.

    Raises:
        ValueError: a number is not finite.
    """
    return {key: value for key, value in content.items() if key != KEY} | {KEY: _seal(content).digest()}


def damage(content: Mapping[str, Any]) -> str:
    """What is wrong with a sealed file, in words; "" if the seal is that of the values."""
    return _seal(content).damage()
