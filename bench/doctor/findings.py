"""What `python -m bench doctor` reports: findings, and whether a machine with them is fit to measure on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One property of the machine."""

    grade: Grade
    """ok; note: it may cost precision; bad: measurements will be invalid, or wrong."""
    subject: str
    found: str
    remedy: str = ""
    """What to do; empty if nothing needs doing."""

    def __str__(self) -> str:
        return f"{self.grade:<5} {self.subject + ':':<17} {self.found}{f': {self.remedy}' if self.remedy else ''}"


def fit(findings: Sequence[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.grade != "bad" for finding in findings)


def report(machine: str, findings: Sequence[Finding]) -> Iterator[str]:
    """The lines of the output."""
    yield machine
    yield from map(str, findings)
    bad = list(dict.fromkeys(finding.subject for finding in findings if finding.grade == "bad"))
    notes = sum(finding.grade == "note" for finding in findings)
    if bad:
        yield f"not fit to measure on: {', '.join(bad)}; change what the lines marked bad say, and run it again"
    else:
        yield f"fit to measure on{f', with {notes} notes' if notes > 1 else ', with a note' if notes else ''}"
