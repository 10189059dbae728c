"""JSON files: each is a record (study/records/) with a seal (study/seal.py); both are checked when it is read.

docs/formats.md describes them.
"""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from study.errors import StudyError
from study.files import read_plain, why, write_text
from study.json_pieces import finite, refuse
from study.records.base import Record
from study.seal import KEY, damage, sealed

R = TypeVar("R", bound=Record)


def as_json(record: Record) -> dict[str, Any]:  # what json.dumps and pytest-benchmark take
    """The record as a JSON object, checked.

    Raises:
        msgspec.ValidationError: a value is not what its field allows; a fault of this program.
    """
    content = msgspec.to_builtins(record)
    msgspec.convert(content, type(record))
    return dict(content)


def write_record(path: Path, record: Record) -> None:
    """Write a JSON file: the keys in the order of the record's fields, then the seal.

    Raises:
        ValueError: a value is not what its field allows, or not finite; a fault of this program.
    """
    text = json.dumps(sealed(as_json(record)), allow_nan=False)  # with its `indent` the standard library is slow
    write_text(path, msgspec.json.format(text, indent=2) + "\n")


def read_record(path: Path, kind: type[R], remedy: str) -> R:
    """The content of a JSON file.

    Raises:
        StudyError: the file is missing, is not JSON, not a record of this kind, or was changed after it was written;
            the message has the path inside the file and ends with `remedy`.
    """
    return to_sealed_record(parse(path, remedy), kind, str(path), remedy)


def to_sealed_record(content: object, kind: type[R], where: str, remedy: str) -> R:
    """The record that parsed JSON with a seal is; `where` names it in the message.

    Raises:
        StudyError: as `read_record`.
    """
    values = {key: value for key, value in content.items() if key != KEY} if isinstance(content, dict) else content
    record = to_record(values, kind, where, remedy)  # first: its message names the value
    assert isinstance(content, dict)
    if fault := damage(content):
        raise StudyError(f"{where}: {fault}; {remedy}")
    return record


def to_record(content: object, kind: type[R], where: str, remedy: str) -> R:
    """The record that parsed JSON is; `where` names it in the message.

    Raises:
        StudyError: as `read_record`.
    """
    expected = kind.__struct_config__.tag
    found = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if expected is not None and found != expected:
        raise StudyError(f"{where}: expected schema {expected!r}, found {found!r}; {remedy}")
    try:
        record = msgspec.convert(content, kind)
        if isinstance(content, dict) and (missing := kind.lacks(content)):
            raise msgspec.ValidationError(f"Object missing required field {missing}")
        return record
    except msgspec.ValidationError as error:
        raise StudyError(f"{where}: {error}{_found(content, str(error))}; {remedy}") from None


def _found(content: Any, message: str) -> str:
    """The value that breaks a constraint, which msgspec does not name, if its message has the whole path."""
    path = re.match(r"Expected `\w+` (?:[<>]|matching|of length).* - at `\$(\S+)`$", message)
    if path is None or "[...]" in path[1]:
        return ""
    for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", path[1]):
        content = content[key or int(index)]
    text = repr(content)
    return f", found {text if len(text) < 200 else text[:200] + '...'}"


def parse(path: Path, remedy: str) -> Any:
    """The JSON in a file.

    Raises:
        StudyError: the file is missing or is not JSON; the message ends with `remedy`.
    """
    try:
        return parse_text(read_plain(path))
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read as JSON ({why(error)}); {remedy}") from None


def parse_text(text: bytes) -> Any:
    """The JSON in `text`.

    Raises:
        ValueError: it is none. NaN, Infinity and 1e400, which is beyond the largest number, are not, though Python
            accepts them.
    """
    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError as error:
        raise ValueError(str(error)) from None
