"""The rules of a portable ONNX file, which gives the same result in every tested runtime (docs/portability.md).

R1 to R10 and R13 are checks of one file's form, which every exported file of this project has. R14 to R16 ask more
of files from elsewhere. R11 (two exports give the same bytes) and R12 (the export works where standard output is ASCII)
cannot be checked in one file: they are tests in tests/export/test_command.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from export.portable import checks, shape_checks
from export.portable.checks import Finding
from export.portable.engines import EVERYWHERE, Affected
from export.portable.parsed import File
from export.portable.remedies import WHOLE, Remedy
from study.variants import OPSET

MOST = 5
"""Violations of one rule that are described; the others are counted."""
OWN = {"model", "seed", "checkpoint_sha256"}
"""Keys of the metadata that every file exported by this project has."""


@dataclass(frozen=True)
class Violation:
    """One violation of a rule by a file."""

    rule: str
    description: str
    remedy: Remedy
    affects: Affected


RULES: dict[str, Callable[[File], Iterator[Finding]]] = {
    "R1": checks.external_tensors,
    "R2": checks.opsets,
    "R3": checks.ir_version,
    "R4": checks.signature,
    "R5": checks.constants,
    "R6": checks.operators,
    "R7": shape_checks.reshapes,
    "R8": shape_checks.broadcasts,
    "R9": checks.annotations,
    "R10": checks.full_check,
    "R13": checks.not_whole,
}
"""The form, in the order of the numbers."""
FOREIGN = RULES | {"R14": checks.lacking_operators, "R15": checks.element_types, "R16": shape_checks.free_batches}


def parse(content: bytes, opset: int = OPSET) -> File | None:
    """The ONNX model in these bytes; None if there is none.

    Args:
        opset: the expected opset of the default domain.
    """
    try:
        return File(content, opset)
    except DecodeError:
        return None


def violations(content: bytes, opset: int = OPSET) -> list[Violation]:
    """The violations of the form in an ONNX file with these bytes; an empty list if it is portable."""
    file = parse(content, opset)
    if file is None:
        return [Violation("R13", "these bytes are not an ONNX model", WHOLE, EVERYWHERE)]
    return violated(file, RULES)


def violated(file: File, rules: dict[str, Callable[[File], Iterator[Finding]]]) -> list[Violation]:
    """The violations in a file, in the order of the rules; those with one remedy and effect are listed together.

    Of these at most `MOST` are described, and the others counted.
    """
    listed = []
    for rule, check in rules.items():
        first: dict[tuple[Remedy, Affected], list[str]] = {}
        counts: Counter[tuple[Remedy, Affected]] = Counter()
        for found in check(file):
            kind = found.remedy, found.affects
            counts[kind] += 1
            if counts[kind] <= MOST:
                first.setdefault(kind, []).append(found.description)
        for (remedy, affects), texts in first.items():
            more = counts[remedy, affects] - len(texts)
            texts += [f"and {more:,} more"] if more else []
            listed += [Violation(rule, text, remedy, affects) for text in texts]
    return listed


def is_own(file: File) -> bool:
    """Whether the file says that this project exported it."""
    return {each.key for each in file.model.metadata_props} >= OWN
