"""The rules of a portable ONNX file, which gives the same result in every tested runtime (docs/portability.md).

R1 to R10 and R13 are checks of one file. R11 (two exports give the same bytes) and R12 (the export works where standard
output is ASCII) cannot be checked in one file: they are tests in tests/export/test_command.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from export.portable import checks
from export.portable.checks import IR_VERSION, File
from study.variants import OPSET

MOST = 5
"""Violations of one rule that are described; the others are counted."""


@dataclass(frozen=True)
class Rule:
    """`check` yields a description of each violation in a file."""

    name: str
    check: Callable[[File], Iterator[str]]
    breaks: str
    """The runtimes that have a problem with a violation."""
    remedy: str


@dataclass(frozen=True)
class Violation:
    """One violation of a rule by a file."""

    rule: Rule
    description: str


def violations(content: bytes, opset: int = OPSET) -> list[Violation]:
    """The violations in an ONNX file with these bytes, in the order of the rules; an empty list if it is portable.

    Args:
        opset: the expected opset of the default domain.
    """
    try:
        file = File(content, opset)
    except DecodeError:
        return [Violation(R13, "these bytes are not an ONNX model")]
    return [Violation(rule, text) for rule in RULES for text in _first(rule.check(file))]


def _first(descriptions: Iterator[str]) -> list[str]:
    first = list(islice(descriptions, MOST))
    more = sum(1 for _ in descriptions)
    return [*first, f"and {more:,} more"] if more else first


R13 = Rule(
    "R13",
    checks.not_whole,
    "every runtime that loads a model from memory, such as a page in a browser",
    "write one ModelProto in protobuf's binary format",
)
RULES = (
    Rule(
        "R1",
        checks.external_tensors,
        "OpenCV 4 and ONNX Runtime in a browser refuse it, pnnx computes NaN, and the file breaks when it is moved",
        "onnx.save(onnx.load(FILE), FILE), or export with external_data=False",
    ),
    Rule(
        "R2",
        checks.opsets,
        "runtimes older than the opset, or without the other domains",
        "export with that opset, or convert with onnx.version_converter; drop the domains that no node uses",
    ),
    Rule(
        "R3",
        checks.ir_version,
        "ONNX Runtime 1.15 to 1.17 refuse what is above 9",
        f"model.ir_version = {IR_VERSION}",
    ),
    Rule(
        "R4",
        checks.signature,
        "tract and pnnx need to know the shapes; a fixed batch fails or gives wrong rows at another one",
        'export with one example of 2 images and dynamic_shapes={"image": {0: torch.export.Dim("batch")}}',
    ),
    Rule(
        "R5",
        checks.constants,
        "OpenCV, pnnx and tract take no functions or sparse weights; no runtime folds weights that are inputs",
        "export with torch.onnx.export(dynamo=True); inline functions with onnx.inliner",
    ),
    Rule(
        "R6",
        checks.operators,
        "OpenCV, pnnx and tract, which support the common operators only",
        "export in evaluation mode and fold constants (`python -m export --simplify`); average by GlobalAveragePool",
    ),
    Rule(
        "R7",
        checks.reshapes,
        "OpenCV 4 and converters refuse allowzero; a fixed batch gives wrong rows at another one",
        "use Flatten, or a constant shape that begins with -1",
    ),
    Rule(
        "R8",
        checks.broadcasts,
        "OpenCV 4 computes wrong shapes and OpenCV 5 NaN",
        "write it as a matrix product (distances as 2x.c - |c|^2 - |x|^2), and x * x as Pow(x, 2)",
    ),
    Rule(
        "R9",
        checks.annotations,
        "no runtime, but it reveals details of the machine that made the file",
        "clear doc_string and metadata_props of the graph and of everything in it",
    ),
    Rule("R10", checks.full_check, "any runtime", "fix what onnx.checker.check_model(FILE, full_check=True) reports"),
    R13,
)
"""In the order of their numbers; the runtimes are those of docs/portability.md, in which each problem was observed."""
