"""In which runtimes should a file load, as far as its opset, IR version, operators and form tell?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from export.portable.engines import ENGINES, title
from export.portable.rules import Violation


@dataclass(frozen=True)
class Expected:
    """Whether a file should load in a runtime, and why not."""

    title: str
    loads: Literal["yes", "no", "not known"]
    reason: str


def expected(found: Sequence[Violation]) -> dict[str, Expected]:
    """The expectation for each engine, by its name, of a file with these violations."""
    rows = {}
    for name, engine in ENGINES.items():
        broken = [violation for violation in found if name in violation.affects.breaks]
        doubtful = [violation for violation in found if name in violation.affects.perhaps]
        if broken:
            rows[name] = Expected(title(name), "no", _reason(broken))
        elif doubtful:
            rows[name] = Expected(title(name), "not known", f"it runs some models with {_reason(doubtful)}")
        elif engine.form and found:
            rows[name] = Expected(title(name), "not known", "it runs models in the portable form")
        else:
            rows[name] = Expected(title(name), "yes", "")
    return rows


def _reason(found: Sequence[Violation]) -> str:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0].rule}: {found[0].description}{more}"
