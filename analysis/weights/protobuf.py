"""Parse an ONNX file without its weights: its large tensors become references to bytes of the file.

`onnx.load` holds a file in memory twice, and does not parse one of more than 2 GiB. So the file is first scanned field
by field, along the fields that onnx's own descriptors name, and the large payloads of its tensors are stepped over.
What remains is parsed by protobuf as usual. The format: https://protobuf.dev/programming-guides/encoding/.
"""

import secrets
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from study.errors import StudyError

INLINE = 4096
"""A tensor's payload of at most so many bytes stays where it is."""
MOST_BYTES = 32 * 2**20
"""Bytes of a file without its weights; the graph of a large language model takes a few megabytes."""
MOST_MESSAGES = 1_000_000
"""Messages in a file: an empty one takes two bytes there and hundreds in memory."""
MOST_FIELDS = 5_000_000
"""Fields in a file, those stepped over included: each takes about a microsecond."""
MOST_NESTED = 100
"""Levels of messages within one another, as many as protobuf itself allows."""
DROPPED = {"doc_string", "training_info"}
"""Fields that have nothing to do with weights and may be long: exporters write whole stack traces."""
PAYLOADS = {"raw_data": None, "float_data": onnx.TensorProto.FLOAT, "double_data": onnx.TensorProto.DOUBLE}
"""Fields of a tensor whose bytes are its values, little-endian, and the type of those. The numbers in all other fields
vary in length, so they are copied."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
ENDLESS = "a field without an end"


@dataclass(frozen=True)
class Skeleton:
    """A model whose large tensors are external: `location` is `marker`, `offset` and `length` are bytes of the file.

    The marker is random, so that no file can name it.
    """

    model: onnx.ModelProto
    marker: str


def skeleton(file: BufferedReader, size: int) -> Skeleton:
    """Read the ONNX `file` of so many bytes, opened at its beginning.

    Raises:
        DecodeError: it is no protobuf message, or not one of ONNX.
        ValueError: the values of a tensor are not as it declares them.
        StudyError: without its weights it exceeds one of the limits above.
    """
    scan = _Scan(file, secrets.token_hex(16))
    content = scan.message(size, onnx.ModelProto.DESCRIPTOR, 0)
    return Skeleton(onnx.ModelProto.FromString(bytes(content)), scan.marker)


def varint(value: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))


def field_header(number: int, length: int) -> bytes:
    """What precedes the bytes of a field."""
    return varint(number << 3 | BYTES) + varint(length)


@dataclass
class _Scan:
    """One pass over a file, from its first byte to its last."""

    file: BufferedReader
    marker: str
    position: int = 0
    copied: int = 0
    messages: int = 0
    fields: int = 0

    def message(self, end: int, kind: Any, depth: int) -> bytearray:
        """The message of descriptor `kind` from here to `end`, without its large payloads and unknown fields."""
        self.messages += 1
        _limit("nested levels", depth, MOST_NESTED)
        _limit("parts", self.messages, MOST_MESSAGES)
        tensor = kind.name == "TensorProto"
        kept, types = bytearray(), set[int]()
        payloads: list[tuple[int, int, int | None]] = []
        while self.position < end:
            tag = self.number(end)
            self.fields += 1
            _limit("fields", self.fields, MOST_FIELDS)
            if tag < 8:
                raise DecodeError("a field of number 0, which ONNX has none of")
            field, wire = kind.fields_by_number.get(tag >> 3), tag & 7
            if wire == VARINT:
                number = self.number(end)
                value = varint(number)
                if tensor and field is not None and field.name == "data_type":
                    types = {number}
            elif wire in (FIXED32, FIXED64):
                value = self.bytes(4 if wire == FIXED32 else 8, end)
            elif wire == BYTES:
                length = self.number(end)
                if field is None or field.name in DROPPED:
                    self.skip(length, end)
                    continue
                if tensor and field.name in PAYLOADS and length > INLINE:
                    payloads.append((self.position, length, PAYLOADS[field.name]))
                    self.skip(length, end)
                    continue
                if field.message_type is not None:
                    content: bytes | bytearray = self.message(self.after(length, end), field.message_type, depth + 1)
                else:
                    content = self.bytes(length, end)
                value = varint(len(content)) + content
            else:
                raise DecodeError(f"a field of wire type {wire}, which ONNX has none of")
            if field is not None:
                kept += varint(tag) + value
        if payloads:
            kept += self.reference(payloads, types)
        return kept

    def reference(self, payloads: list[tuple[int, int, int | None]], types: set[int]) -> bytes:
        """The fields that make a tensor of this type external; they override what it declares itself."""
        if len(payloads) > 1:
            raise ValueError("a tensor whose values are in several pieces")
        offset, length, of_type = payloads[0]
        if of_type is not None and types != {of_type}:
            raise ValueError("a tensor whose values are of another type than it declares")
        tensor = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
        for key, text in {"location": self.marker, "offset": str(offset), "length": str(length)}.items():
            tensor.external_data.add(key=key, value=text)
        return bytes(tensor.SerializeToString())

    def number(self, end: int) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.file.read(1)
            self.position += 1
            if not byte or self.position > end:
                break
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
        raise DecodeError(ENDLESS)

    def bytes(self, length: int, end: int) -> bytes:
        self.copied += length
        _limit("bytes", self.copied, MOST_BYTES)
        stop = self.after(length, end)
        content = self.file.read(length)
        if len(content) != length:
            raise DecodeError(ENDLESS)
        self.position = stop
        return content

    def skip(self, length: int, end: int) -> None:
        self.position = self.after(length, end)
        self.file.seek(self.position)

    def after(self, length: int, end: int) -> int:
        if self.position + length > end:
            raise DecodeError(ENDLESS)
        return self.position + length


def _limit(what: str, found: int, most: int) -> None:
    if found > most:
        raise StudyError(f"expected a model of at most {most:,} {what} (weights apart), found more")
