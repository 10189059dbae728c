"""The rules that an ONNX file holds to which every runtime tried loads and computes alike; docs/portability.md has why.

Each is a check on one file, R1 to R10 and R13. R11 (two exports give the same bytes) and R12 (the export works where
standard output is ASCII) cannot be seen in one file: they are tests in tests/export/test_command.py.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from export.portable import checks as inspection
from export.portable.checks import IR_VERSION, File
from study.variants import OPSET

MOST = 5
"""Findings of one rule that are told; the others are counted."""


@dataclass(frozen=True)
class Violation:
    """Where a file breaks a rule."""

    rule: str
    found: str
    breaks: str
    """Which runtimes that is a problem of."""
    remedy: str


Check = Callable[[File], Iterator[str]]
"""Gives each finding of a file in words; none where the rule holds."""


@dataclass(frozen=True)
class Rule:
    """`check` finds where a file breaks it."""

    name: str
    check: Check
    breaks: str
    remedy: str


def violations(content: bytes, opset: int = OPSET) -> list[Violation]:
    """Where the ONNX file that has these bytes breaks a rule, by rule; an empty list if it is portable.

    Args:
        opset: of the default domain, the one that the file should be of.
    """
    try:
        file = File(content, opset)
    except DecodeError:
        return [Violation(R13.name, "these bytes are no ONNX model", R13.breaks, R13.remedy)]
    found: list[Violation] = []
    for rule in RULES:
        found += [Violation(rule.name, text, rule.breaks, rule.remedy) for text in _first(rule.check(file))]
    return found


def _first(findings: Iterable[str]) -> list[str]:
    told: list[str] = []
    more = 0
    for text in findings:
        if len(told) < MOST:
            told.append(text)
        else:
            more += 1
    return [*told, f"and {more:,} more"] if more else told


R13 = Rule(
    "R13",
    inspection.not_whole,
    "whatever loads a model from memory, as a page in a browser does",
    "write one ModelProto in protobuf's binary form",
)
RULES = (
    Rule(
        "R1",
        inspection.external_tensors,
        "OpenCV 4 and ONNX Runtime in a browser refuse it, pnnx makes NaN of it, and a moved file is broken",
        "onnx.save(onnx.load(FILE), FILE), or export with external_data=False",
    ),
    Rule(
        "R2",
        inspection.opsets,
        "runtimes older than the opset, or without the other domains",
        "export with the opset asked for; onnx.version_converter converts; drop the domains that no node uses",
    ),
    Rule(
        "R3",
        inspection.ir_version,
        "ONNX Runtime 1.15 to 1.17 refuse what is above 9",
        f"model.ir_version = {IR_VERSION}",
    ),
    Rule(
        "R4",
        inspection.signature,
        "tract and pnnx need to know the shapes; a fixed batch fails or gives wrong rows at another one",
        'export with one example of 2 images and dynamic_shapes={"image": {0: torch.export.Dim("batch")}}',
    ),
    Rule(
        "R5",
        inspection.constants,
        "OpenCV, pnnx and tract take no functions or sparse weights; no runtime folds weights that are inputs",
        "export with torch.onnx.export(dynamo=True); inline functions with onnx.inliner",
    ),
    Rule(
        "R6",
        inspection.operators,
        "OpenCV, pnnx and tract, which have few operators besides the plain ones",
        "export in evaluation mode and fold constants (`python -m export --simplify`); average by GlobalAveragePool",
    ),
    Rule(
        "R7",
        inspection.reshapes,
        "OpenCV 4 and converters refuse allowzero; a fixed batch gives wrong rows at another one",
        "use Flatten, or a constant shape that begins with -1",
    ),
    Rule(
        "R8",
        inspection.broadcasts,
        "OpenCV 4 makes wrong shapes of it and OpenCV 5 NaN",
        "write it as a matrix product (distances as 2x.c - |c|^2 - |x|^2), and x * x as Pow(x, 2)",
    ),
    Rule(
        "R9",
        inspection.annotations,
        "nobody's, but it tells of the machine that the file was made on",
        "clear doc_string and metadata_props of the graph and of all that is in it",
    ),
    Rule(
        "R10", inspection.full_check, "any runtime", "mend what onnx.checker.check_model(FILE, full_check=True) tells"
    ),
    R13,
)
"""In the order of their numbers; the texts on runtimes are what was seen in those of docs/portability.md."""
