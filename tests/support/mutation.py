"""Damages ONNX files at random, byte by byte or field by field; the same generator gives the same file."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

WHOLE = (*range(-2, 9), 12, 16, 255, 256, *(2**n for n in (16, 20, 31, 32, 62)), 2**31 - 1, 2**63 - 1, -(2**63))
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
BYTES = (0, 1, 0x7F, 0x80, 0xFF)
OPERATORS = """
    Add Cast Concat Constant ConstantOfShape Conv DequantizeLinear Einsum Erf Expand EyeLike Flatten FusedGemm
    FusedMatMul Gather Gemm Identity If LinearClassifier LinearRegressor Loop MatMul MatMulInteger MatMulNBits Mul Pad
    Pow QGemm QLinearMatMul QuantizeLinear Range ReduceSum Reshape ScatterND Shape Slice Softmax Split Squeeze Sum Tile
    Transpose Trilu Unsqueeze Where
""".split()  # noqa: SIM905
NAMES = {"op_type": OPERATORS, "domain": ("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "local")}
CODES = ("data_type", "elem_type", "to", "version")
"""Fields of small integers."""
Random = np.random.Generator


def mutated(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """`content` with one to four damages; chunks and parts may come from `others`."""
    for _ in range(int(random.integers(1, 5))):
        damage = _bytes if random.random() < 0.45 else _structure
        content = damage(content, others, random)
    return content


def _choice(random: Random, values: Sequence[Any]) -> Any:
    return values[int(random.integers(len(values)))]


def _bytes(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Bits flipped, a byte set, a chunk removed, repeated, or taken from another file, a length changed, or cut off."""
    data = bytearray(content or b"\0")
    at = int(random.integers(len(data)))
    until = min(len(data), at + int(random.integers(1, 64)))
    other = _choice(random, others)
    start = int(random.integers(len(other)))
    match int(random.integers(8)):
        case 0:
            for place in random.integers(len(data), size=int(random.integers(1, 9))):
                data[place] ^= 1 << int(random.integers(8))
        case 1:
            data[at] = _choice(random, (*BYTES, int(random.integers(256))))
        case 2:
            del data[at:until]
        case 3:
            data[at:at] = data[at:until] * int(random.integers(1, 4))
        case 4:
            data[at:until] = other[start : start + int(random.integers(1, 256))]
        case 5:  # a varint of many bytes
            data[at:at] = b"\xff" * int(random.integers(1, 11)) + b"\x01"
        case 6:
            data[at] = (data[at] + int(random.integers(-3, 4))) % 256
        case _ if random.random() < 0.3:
            del data[at:]
    return bytes(data)


def _structure(content: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """One part replaced by one of its kind, or one field of it changed to something else that may stand there."""
    model, other = onnx.ModelProto(), onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        return _bytes(content, others, random)
    parts = _parts(model)
    part = _choice(random, parts)
    if random.random() < 0.1:
        with suppress(DecodeError):
            other.ParseFromString(_choice(random, others))
        parts += _parts(other)
    same = [each for each in parts if each.DESCRIPTOR is part.DESCRIPTOR]
    if random.random() < 0.1:
        part.CopyFrom(_copy(_choice(random, same)))
    else:
        with suppress(UnicodeDecodeError):  # protobuf keeps a damaged text, and fails when it is looked at
            _field(part, _choice(random, part.DESCRIPTOR.fields), same, random)
    return bytes(model.SerializeToString())


def _copy(part: Message) -> Message:
    copy = type(part)()
    copy.CopyFrom(part)
    return copy


def _parts(model: Message) -> list[Message]:
    parts = [model]
    for part in parts:  # which grows
        for field, value in part.ListFields():
            if field.message_type is not None:
                parts.extend(value if field.is_repeated else [value])
    return parts


def _field(part: Message, field: Any, same: Sequence[Message], random: Random) -> None:
    """Clear a field of `part`, take over that of a part of the same kind, or change its value or one of its values."""
    kind, whole = random.random(), field.message_type is not None
    given = [each for each in same if (getattr(each, field.name) if field.is_repeated else each.HasField(field.name))]
    if kind < 0.15 or (whole and not given):
        part.ClearField(field.name)
    elif whole or (kind < 0.4 and given):
        value = getattr(_copy(_choice(random, given)), field.name)
        if field.is_repeated:
            if random.random() < 0.5:
                part.ClearField(field.name)
            getattr(part, field.name).extend(value)
        elif whole:
            getattr(part, field.name).CopyFrom(value)
        else:
            setattr(part, field.name, value)
    elif not field.is_repeated:
        setattr(part, field.name, _value(field, getattr(part, field.name), random))
    else:
        values = list(getattr(part, field.name))
        at = int(random.integers(len(values) + 1))
        inserted = [_value(field, None, random)] * int(random.integers(4))
        values[at : at + int(random.integers(2))] = inserted
        part.ClearField(field.name)
        getattr(part, field.name).extend(values)


def _value(field: Any, before: Any, random: Random) -> Any:
    if field.name in NAMES:
        return _choice(random, NAMES[field.name])
    if field.enum_type is not None:
        return _choice(random, field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return _choice(random, REAL)
    if field.type == field.TYPE_BYTES:
        return _bytes(before or b"\0", [b"\0\xff"], random)
    if field.cpp_type == field.CPPTYPE_STRING:
        return _choice(random, TEXT)
    if field.name in CODES or random.random() < 0.3:
        return int(random.integers(27))
    bits = {field.CPPTYPE_INT32: 31, field.CPPTYPE_UINT64: 64}.get(field.cpp_type, 63)
    return min(max(_choice(random, WHOLE), 0 if bits == 64 else -(2**bits)), 2**bits - 1)
