"""What may lie where a file is expected, each made of the sound file at a path, and the fault that must be reported."""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from study.files import MOST_BYTES
from tests.support.study import resealed

Damage = Callable[[Path], object]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def other_digit(path: Path) -> None:
    """The last digit of the longest number is another one."""
    text = path.read_bytes()
    longest = max(re.finditer(rb"[0-9.]+", text), key=lambda found: len(found[0]) * (b'"' not in found[0]))
    at = longest.end() - 1
    path.write_bytes(text[:at] + (b"1" if text[at : at + 1] != b"1" else b"2") + text[at + 1 :])


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)


def pipe(path: Path) -> None:
    """Nobody writes to it: to read it is to wait for ever."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def device(path: Path) -> None:
    """Zeros without end."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def large(path: Path) -> None:
    """No file of records or rows has so many bytes; here they take no room on the disk."""
    os.truncate(path, MOST_BYTES + 1)


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 200_000)


def deep_value(path: Path) -> None:
    path.write_text(path.read_text().replace("{", '{"deep": ' + "[" * 200_000, 1))


def array(path: Path) -> None:
    path.write_text("[]")


def twice(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def another_schema(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        record = content.get("study", content)
        record["schema"] = record["schema"].partition("/")[0] + "/99"

    _edited(path, change)


def unsealed(path: Path) -> None:
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps(content))


def unknown_key(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content.get("study", content)["surprise"] = 1

    _edited(path, change)


def number(text: str) -> Damage:
    """The number of the machine's memory is this text, with the seal that Python's own reading of it has."""

    def change(path: Path) -> None:
        found = re.sub(r'("memory_bytes": )[0-9]+', rf"\g<1>{text}", path.read_text())
        assert text in found
        path.write_text(found)

    return change


def sealed_number(value: object) -> Damage:
    """The same, with a seal that fits."""

    def change(path: Path) -> None:
        def put(content: dict[str, Any]) -> None:
            content.get("study", content)["environment"]["memory_bytes"] = value

        _edited(path, put)

    return change


def _edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(resealed(content)))


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


ANY: Mapping[str, tuple[Damage, str]] = {
    "empty": (empty, ""),
    "truncated": (truncated, ""),
    "another digit": (other_digit, ""),
    "binary": (binary, ""),
    "a folder": (folder, "a folder"),
    "a pipe": (pipe, "a pipe"),
    "a device": (device, "a device"),
    "a link to itself": (loop, ""),
    "too large": (large, ""),
}
"""Of files of any kind; the answer must have this text, and the name of the file."""
JSON: Mapping[str, tuple[Damage, str]] = {
    **ANY,
    "deep": (deep, "cannot be read as JSON"),
    "an array": (array, "expected"),
    "twice": (twice, "cannot be read as JSON"),
    "another version": (another_schema, "/99'"),
    "without its seal": (unsealed, "expected the key `sha256`"),
    "an unknown key": (unknown_key, "surprise"),
    "NaN": (number("NaN"), "NaN is no JSON"),
    "1e400": (number("1e400"), "1e400 is no JSON"),
    "10^30": (number("1" + 30 * "0"), ""),
    "5,000 digits": (number(5000 * "9"), ""),
    "a negative count": (sealed_number(-1), ">= 0"),
    "text for a number": (sealed_number("many"), "got `str`"),
}
