"""Damages ONNX files at random, byte by byte or in what they say; the same generator gives the same file."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

WHOLE = (
    0,
    1,
    2,
    3,
    -1,
    -2,
    4,
    5,
    7,
    8,
    12,
    16,
    255,
    256,
    2**16,
    2**20,
    2**31 - 1,
    2**31,
    2**32,
    2**62,
    2**63 - 1,
    -(2**63),
)
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e38, -1e38, float("inf"), float("-inf"), float("nan"))
TEXT = (
    "",
    "x",
    "y",
    "w",
    "\n",
    "\x1b[2J",
    "a" * 5000,
    "../../etc/passwd",
    "/dev/zero",
    ".",
    "0",
    "-1",
    "9" * 30,
    "%s{}",
)
OPERATORS = """
    Add Cast Concat Constant ConstantOfShape Conv DequantizeLinear Einsum Erf Expand EyeLike Flatten FusedGemm
    FusedMatMul Gather Gemm Identity If LinearClassifier LinearRegressor Loop MatMul MatMulInteger MatMulNBits Mul Pad
    Pow QGemm QLinearMatMul QuantizeLinear Range ReduceSum Reshape ScatterND Shape Slice Softmax Split Squeeze Sum Tile
    Transpose Trilu Unsqueeze Where
""".split()  # noqa: SIM905
DOMAINS = ("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "local")
Random = np.random.Generator


def mutated(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """`content` with one to four damages; chunks and parts may come from `others`."""
    for _ in range(int(random.integers(1, 5))):
        by_bytes = random.random() < 0.45
        content = _bytes(content, others, random) if by_bytes else _structure(content, others, random)
    return content


def _choice(random: Random, values: Sequence[Any]) -> Any:
    return values[int(random.integers(len(values)))]


def _bytes(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Bits flipped, a byte set, a chunk removed, repeated, or taken from another file, a length changed, or cut off."""
    data = bytearray(content or b"\0")
    at = int(random.integers(len(data)))
    until = min(len(data), at + int(random.integers(1, 64)))
    kind = int(random.integers(8))
    if kind == 0:
        for place in random.integers(len(data), size=int(random.integers(1, 9))):
            data[place] ^= 1 << int(random.integers(8))
    elif kind == 1:
        data[at] = _choice(random, (0, 1, 0x7F, 0x80, 0xFF, int(random.integers(256))))
    elif kind == 2:
        del data[at:until]
    elif kind == 3:
        data[at:at] = data[at:until] * int(random.integers(1, 4))
    elif kind == 4:
        other = _choice(random, others)
        start = int(random.integers(len(other)))
        data[at:until] = other[start : start + int(random.integers(1, 256))]
    elif kind == 5:  # a varint of many bytes
        data[at:at] = b"\xff" * int(random.integers(1, 11)) + b"\x01"
    elif kind == 6:
        data[at] = (data[at] + int(random.integers(-3, 4))) % 256
    elif random.random() < 0.3:
        del data[at:]
    return bytes(data)


def _structure(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """One field of one part changed to something else that may stand there."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        return _bytes(content, others, random)
    parts = _parts(model)
    part = _choice(random, parts)
    if random.random() < 0.1:
        other = onnx.ModelProto()
        with suppress(DecodeError):
            other.ParseFromString(_choice(random, others))
        parts += _parts(other)
    same = [each for each in parts if each.DESCRIPTOR is part.DESCRIPTOR]
    if random.random() < 0.1:
        replacement = type(part)()
        replacement.CopyFrom(_choice(random, same))
        part.CopyFrom(replacement)
    else:
        with suppress(UnicodeDecodeError):  # protobuf keeps a damaged text, and fails when it is looked at
            _field(part, _choice(random, part.DESCRIPTOR.fields), same, random)
    return bytes(model.SerializeToString())


def _parts(model: Message) -> list[Message]:
    found, waiting = [], [model]
    while waiting:
        part = waiting.pop()
        found.append(part)
        for field, value in part.ListFields():
            if field.message_type is not None:
                waiting.extend(value if field.is_repeated else [value])
    return found


def _field(part: Message, field: Any, same: Sequence[Message], random: Random) -> None:
    """Change a field of `part`: clear it, set it, or copy that of a part of the same kind."""
    kind = random.random()
    given = [
        each for each in same if (len(getattr(each, field.name)) if field.is_repeated else each.HasField(field.name))
    ]
    if kind < 0.15 or (field.message_type is not None and not given):
        part.ClearField(field.name)
        return
    if field.message_type is not None or (kind < 0.4 and given):
        other = type(part)()
        other.CopyFrom(_choice(random, given))
        if not (field.is_repeated and random.random() < 0.5):
            part.ClearField(field.name)
        if field.message_type is None and not field.is_repeated:
            setattr(part, field.name, getattr(other, field.name))
        elif field.is_repeated:
            getattr(part, field.name).extend(getattr(other, field.name))
        else:
            getattr(part, field.name).CopyFrom(getattr(other, field.name))
        return
    if not field.is_repeated:
        setattr(part, field.name, _value(field, getattr(part, field.name), random))
        return
    values = list(getattr(part, field.name))
    at = int(random.integers(len(values) + 1))
    if values and kind < 0.6:
        del values[min(at, len(values) - 1)]
    elif kind < 0.8 or not values:
        values[at:at] = [_value(field, None, random)] * int(random.integers(1, 4))
    else:
        at = min(at, len(values) - 1)
        values[at] = _value(field, values[at], random)
    part.ClearField(field.name)
    getattr(part, field.name).extend(values)


def _value(field: Any, before: Any, random: Random) -> Any:
    if field.name == "op_type":
        return _choice(random, OPERATORS)
    if field.name == "domain":
        return _choice(random, DOMAINS)
    if field.enum_type is not None:
        return _choice(random, field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return _choice(random, REAL)
    if field.type == field.TYPE_BYTES:
        return _bytes(before or b"\0", [b"\0\xff"], random)
    if field.cpp_type == field.CPPTYPE_STRING:
        return _choice(random, TEXT)
    bits = {field.CPPTYPE_INT32: 31, field.CPPTYPE_UINT64: 64}.get(field.cpp_type, 63)
    low = 0 if bits == 64 else -(2**bits)
    if field.name in ("data_type", "elem_type", "to", "version") or random.random() < 0.3:
        return int(random.integers(27))
    return min(max(_choice(random, WHOLE), low), 2**bits - 1)
