"""An ONNX file without its weights: an ordinary ModelProto whose large tensors are references to places in the file.

`onnx.load` holds all of a file in memory twice; a network of some gigabytes does not even parse. So the file is first
gone through field by field, along the fields that onnx's own descriptors name, and the large payloads of its tensors
are stepped over. What remains is parsed by protobuf as usual. The format is that of
https://protobuf.dev/programming-guides/encoding/.
"""

import secrets
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from study.errors import StudyError

INLINE = 4096
"""Bytes of a tensor's payload up to which it stays where it is."""
MOST_BYTES = 32 * 2**20
"""What may remain of a file: a large language model's graph has a few megabytes."""
MOST_MESSAGES = 1_000_000
"""Messages in it, an empty one of which takes two bytes in the file and hundreds in memory."""
MOST_FIELDS = 5_000_000
"""Fields in all, those included that are stepped over: each takes about a microsecond."""
MOST_NESTED = 100
"""protobuf's own limit."""
DROPPED = {"doc_string", "training_info"}
"""Fields that say nothing of the weights and may be long: exporters write whole stack traces."""
PAYLOADS = {"raw_data": None, "float_data": onnx.TensorProto.FLOAT, "double_data": onnx.TensorProto.DOUBLE}
"""Fields of a tensor whose bytes, little-endian, are its values, and of which type. The others, variable in length, are
copied."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Skeleton:
    """`model` as protobuf has it, and where the large tensors of the file are.

    Such a tensor is external in `model`: its `location` is `marker`, drawn anew for each file so that no file can name
    it, and its `offset` and `length` are bytes of the file itself.
    """

    model: onnx.ModelProto
    marker: str


def skeleton(file: BufferedReader, size: int) -> Skeleton:
    """Read the ONNX `file` of so many bytes, opened at its beginning.

    Raises:
        ValueError: it is no protobuf message, or not one of ONNX.
        StudyError: without its weights it is larger than `MOST_BYTES` or has more parts than `MOST_MESSAGES`.
    """
    scan = _Scan(file, secrets.token_hex(16))
    content = scan.message(size, onnx.ModelProto.DESCRIPTOR, 0)
    try:
        return Skeleton(onnx.ModelProto.FromString(bytes(content)), scan.marker)
    except DecodeError as error:
        raise ValueError(str(error)) from None


class _Scan:
    """One way through a file, from its first byte to its last."""

    def __init__(self, file: BufferedReader, marker: str) -> None:
        self.file = file
        self.marker = marker
        self.position = 0
        self.copied = 0
        self.messages = 0
        self.fields = 0

    def message(self, end: int, kind: Any, depth: int) -> bytearray:
        """The message of descriptor `kind` from here to `end`, without its large payloads and unknown fields."""
        self.messages += 1
        self.bounded("nested levels", depth, MOST_NESTED)
        self.bounded("parts", self.messages, MOST_MESSAGES)
        tensor = kind.name == "TensorProto"
        kept, types = bytearray(), set[int]()
        places: list[tuple[int, int, int | None]] = []
        while self.position < end:
            tag = self.varint(end)
            self.fields += 1
            self.bounded("fields", self.fields, MOST_FIELDS)
            if tag < 8:
                raise ValueError("a field of number 0, which ONNX has none of")
            field, wire = kind.fields_by_number.get(tag >> 3), tag & 7
            if wire == VARINT:
                number = self.varint(end)
                value = _varint(number)
                if tensor and field is not None and field.name == "data_type":
                    types = {number}
            elif wire in (FIXED32, FIXED64):
                value = self.bytes(4 if wire == FIXED32 else 8, end)
            elif wire == BYTES:
                length = self.varint(end)
                if field is None or field.name in DROPPED:
                    self.skip(length, end)
                    continue
                if tensor and field.name in PAYLOADS and length > INLINE:
                    places.append((self.position, length, PAYLOADS[field.name]))
                    self.skip(length, end)
                    continue
                if field.message_type is not None:
                    content: bytes | bytearray = self.message(self.after(length, end), field.message_type, depth + 1)
                else:
                    content = self.bytes(length, end)
                value = _varint(len(content)) + content
            else:
                raise ValueError(f"a field of wire type {wire}, which ONNX has none of")
            if field is not None:
                kept += _varint(tag) + value
        if places:
            kept += self.reference(places, types)
        return kept

    def reference(self, places: list[tuple[int, int, int | None]], types: set[int]) -> bytes:
        """The fields that make a tensor of the type in `types` refer to its place, over what it said of that itself."""
        if len(places) > 1:
            raise ValueError("a tensor whose values are in several pieces")
        offset, length, of_type = places[0]
        if of_type is not None and types != {of_type}:
            raise ValueError("a tensor whose values are of another type than it says")
        entries = {"location": self.marker, "offset": str(offset), "length": str(length)}
        tensor = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
        for key, text in entries.items():
            tensor.external_data.add(key=key, value=text)
        return bytes(tensor.SerializeToString())

    def bounded(self, what: str, found: int, most: int) -> None:
        if found > most:
            raise StudyError(f"expected a model of at most {most:,} {what} (weights apart), found more")

    def varint(self, end: int) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.file.read(1)
            self.position += 1
            if not byte or self.position > end:
                break
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise ValueError("a field without an end")

    def bytes(self, length: int, end: int) -> bytes:
        self.copied += length
        self.bounded("bytes", self.copied, MOST_BYTES)
        stop = self.after(length, end)
        content = self.file.read(length)
        if len(content) != length:
            raise ValueError("a field without an end")
        self.position = stop
        return content

    def skip(self, length: int, end: int) -> None:
        self.position = self.after(length, end)
        self.file.seek(self.position)

    def after(self, length: int, end: int) -> int:
        if self.position + length > end:
            raise ValueError("a field without an end")
        return self.position + length


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
