"""What several JSON files have in common: the record they are written as, number types, and the shared nouns."""

from collections.abc import Mapping
from typing import Annotated, Any, dataclass_transform

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]
Seed = Annotated[int, Meta(ge=0, lt=2**32)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Loss = Annotated[float, Meta(ge=0, le=3.5e38)]
"""A mean of float32 numbers, which end at 3.4e38."""
Positive = Annotated[float, Meta(gt=0)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Scalar = bool | int | float | str | None
"""What a table's cell, a hyper-parameter or an engine's setting may be."""


@dataclass_transform(frozen_default=True, kw_only_default=True)  # which mypy does not inherit from Struct
class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """An object of a JSON file: the fields, in their order, are its keys.

    A whole file is a record with a tag, such as "run/2", which is the value of its first key, `schema`.
    Values are checked where a file is read or written (study/record_files.py), not where a record is constructed.
    """

    @classmethod
    def lacks(cls, content: Mapping[str, Any]) -> str:
        """What a file of this kind lacks although its field has a default, and where: "`shift` - at `$.recipe`"."""
        return ""


class Interval(Record):
    """A value and its 95 % interval."""

    value: Positive
    low: Positive
    high: Positive


class Environment(Record, omit_defaults=True):
    """The machine, the versions and the commit that a result was made with."""

    cpu: str
    cores: Count
    """Cores that this process may run on."""
    memory_bytes: Count
    system: str
    python: str
    packages: dict[str, str]
    """Versions of the installed packages that the study uses, by name."""
    commit: str | None
    """Commit of this repository; null outside git."""
    dirty: bool | None
    """Whether there were uncommitted changes; null outside git."""
    threads: AtLeastOne | None = None
    """Intra-op threads of PyTorch; only in run.json."""


class Parity(Record, omit_defaults=True):
    """How far one engine's outputs are from another's for the same inputs."""

    images: Count
    max_abs_difference: NotNegative
    """Largest absolute difference of two numbers."""
    argmax_mismatches: Count
    """Inputs for which the two engines give another class: the largest number elsewhere, another integer or text."""
    against: str | None = None
    """The runtime it was compared with; only in bench.json."""

    def holds(self, limit: float, mismatches: float = 0.0) -> bool:
        """Whether no output differs by more than `limit`, and no more than this share of the classes."""
        return self.max_abs_difference <= limit and self.argmax_mismatches <= mismatches * self.images
