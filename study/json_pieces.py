"""Read a large JSON object a piece at a time: a file of 100,000 benchmarks is a gigabyte, and parsed whole several."""

import json
import math
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, NoReturn, TextIO

import msgspec

CHUNK = 2**20
"""Characters read at a time, until a piece needs more."""
MOST = 2**28
"""Characters of a piece at most."""
SPACE = " \t\n\r"
ENDS = (*SPACE, *",]}:")
"""What may follow a value."""


class ConstantError(ValueError):
    """NaN, Infinity, or a number beyond the largest one, such as 1e400: Python accepts them."""


def refuse(constant: str) -> NoReturn:
    raise ConstantError(f"{constant} is no JSON")


def finite(number: str) -> float:
    """
    Raises:
        ConstantError: it is beyond the largest number.
    """
    return value if math.isfinite(value := float(number)) else refuse(number)


def pieces(file: TextIO, opened: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The members of the object in `file`, in their order, each with its key.

    Of an array whose key is in `opened` each element comes by itself. An object whose key is there is gone into: the
    keys of its members are "object.key", and may be in `opened` too.

    Raises:
        ValueError: it is no JSON object, has a key twice, or a piece of over `MOST` characters.
    """
    text = _Text(file)
    yield from _members(text, "", opened)
    if text.following():
        raise ValueError("expected the end of the file behind the object")


def _members(text: "_Text", where: str, opened: Collection[str]) -> Iterator[tuple[str, Any]]:
    text.expect("{")
    keys: set[str] = set()
    while text.following() != "}" or keys:
        key = text.value()
        if not isinstance(key, str) or key in keys:
            raise ValueError(f"expected each key once, found {str(key)[:60]!r}")
        keys.add(key)
        text.expect(":")
        name, kind = where + key, text.following()
        if name in opened and kind == "[":
            yield from ((name, element) for element in _elements(text))
        elif name in opened and kind == "{":
            yield from _members(text, f"{name}.", opened)
        else:
            yield name, text.value()
        if text.following() != ",":
            break
        text.expect(",")
    text.expect("}")


def _elements(text: "_Text") -> Iterator[Any]:
    text.expect("[")
    if text.following() != "]":
        yield text.value()
        while text.following() == ",":
            text.expect(",")
            yield text.value()
    text.expect("]")


class _Text:
    """The part of a file that has been read and is not used yet."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at, self.whole = file, "", 0, False
        self.decoder = json.JSONDecoder(parse_constant=refuse, parse_float=finite)

    def following(self) -> str:
        """The next character that is not white space, which stays; "" at the end."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in SPACE:
                    return self.text[self.at]
                self.at += 1
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        if (found := self.following()) != character:
            raise ValueError(f"expected {character!r}, found {found!r}")
        self.at += 1

    def value(self) -> Any:
        """The next value, once what ends it has been read too: "1" may go on as "1.5"."""
        self.following()
        while True:
            if end := self._indented():
                # Four times as fast as the decoder below, which is left to say what is wrong with it.
                with suppress(msgspec.MsgspecError, ValueError, RecursionError):
                    value = msgspec.json.decode(self.text[self.at : end])
                    self.at = end
                    return value
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
                if self.text[end : end + 1] in ENDS or self.whole:
                    self.at = end
                    return value
            except ConstantError:  # more text does not mend it
                raise
            except RecursionError as error:
                raise ValueError(str(error)) from None
            except ValueError:
                if self.whole or len(self.text) - self.at > MOST:
                    raise
            self._more()

    def _indented(self) -> int:
        """Where the next value seems to end if it is an object with a line for each member; 0 if it is none.

        Its last line is the first with a brace below the beginning of its first: no string holds a line break.
        """
        begin = self.text.rfind("\n", 0, self.at) + 1
        indentation = self.text[begin : self.at]
        if indentation.strip(" ") or not self.text.startswith("{\n", self.at):
            return 0
        closing = f"\n{indentation}}}"
        found = self.text.find(closing, self.at)
        return found + len(closing) if found > 0 else 0

    def _more(self) -> bool:
        """Read on, each time as much as is left, and drop what was used; whether there was more."""
        self.text, self.at = self.text[self.at :], 0
        read = self.file.read(max(CHUNK, len(self.text)))
        self.text += read
        self.whole = not read
        return bool(read)
