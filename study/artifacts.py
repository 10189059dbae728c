"""The layout of an artifacts folder, and how its files are read and written. No torch here.

docs/formats.md describes the files. Each JSON file is a record (study/records/) with a seal (study/seal.py); both are
checked when it is read. Every write is atomic.
"""

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from study.errors import StudyError
from study.json_pieces import finite, refuse
from study.plain_files import read_plain as read_plain
from study.plain_files import sha256 as sha256
from study.records.base import Record
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.seal import KEY, damage, sealed
from study.variants import STANDARD, STANDARD_NAME, Variant

R = TypeVar("R", bound=Record)

HISTORY = ("epoch", "lr", "train_loss", "train_error", "validation_loss", "validation_error", "seconds")
"""Columns of history.csv."""
PREDICTIONS = ("label", "predicted")
"""Columns of predictions.csv."""
DEFAULT_ROOT = Path("artifacts")


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, one model trained with one seed, and of one variant of its export."""

    folder: Path
    model: str
    seed: int
    variant: Variant = STANDARD

    def of(self, variant: Variant) -> "RunFiles":
        """The files of the same run and another variant of its export."""
        return replace(self, variant=variant)

    def exported_as(self, name: str) -> "RunFiles":
        """The files of the same run and the variant of this name; "standard" is the standard one.

        Raises:
            StudyError: it has not been exported as that variant; the message lists those it has been exported as.
        """
        exported = {STANDARD_NAME: STANDARD}
        if name != STANDARD_NAME:  # which does not depend on the other exports being readable
            exported |= {variant.name: variant for variant in self.variants()}
        if name not in exported:
            raise StudyError(
                f"--variants: {self.model} has not been exported as {name!r}, only as: {', '.join(exported)}; "
                f"see `python -m export --help`, and export {self.model} so"
            )
        return self.of(exported[name])

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def record(self) -> Path:
        return self.folder / "run.json"

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    @property
    def predictions(self) -> Path:
        """Label and predicted class of every test image."""
        return self.folder / "predictions.csv"

    @property
    def resume(self) -> Path:
        """State after the last whole epoch of an unfinished run; deleted when it finishes."""
        return self.folder / "resume.pt"

    @property
    def onnx(self) -> Path:
        return self.folder / f"{self.variant.named('model')}.onnx"

    @property
    def card(self) -> Path:
        """The model card of the ONNX file."""
        return self.folder / f"{self.variant.named('model')}.md"

    @property
    def export(self) -> Path:
        return self.folder / f"{self.variant.named('export')}.json"

    def variants(self) -> list[Variant]:
        """The variants that this run has been exported as, the standard one first.

        Raises:
            StudyError: an export's record cannot be read.
        """
        remedy = "delete it, or export that variant again"
        records = (read_record(path, ExportRecord, remedy) for path in self.folder.glob("export*.json"))
        return sorted((record.variant for record in records), key=lambda variant: (variant != STANDARD, variant.name))

    @property
    def pruning(self) -> Path:
        """How many of the weights in `onnx` can be pruned."""
        return self.folder / "pruning.json"


@dataclass(frozen=True)
class Artifacts:
    """The layout of an artifacts folder."""

    root: Path = DEFAULT_ROOT

    def run(self, model: str, seed: int) -> RunFiles:
        return RunFiles(self.root / "models" / model / f"seed{seed}", model, seed)

    def runs(self, model: str) -> list[RunFiles]:
        """The finished runs of `model`, by seed; a run is finished once its run.json is there."""
        found = (self.root / "models" / model).glob("seed*/run.json")
        seeds = sorted(int(p.parent.name[4:]) for p in found if p.parent.name[4:].isdecimal())
        return [self.run(model, seed) for seed in seeds]

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def bench(self) -> Path:
        return self.root / "bench.json"

    @property
    def ab(self) -> tuple[Path, ...]:
        """What `python -m bench ab --json DIR/ab/NAME.json` wrote."""
        return tuple(sorted((self.root / "ab").glob("*.json")))

    @property
    def report(self) -> Path:
        """The report on the default study."""
        return self.root / "report"

    def report_on(self, study: str) -> Path:
        """The report on another study."""
        return self.root / f"report-{study}"

    @property
    def portability(self) -> Path:
        """Whether each model computes the same in each runtime."""
        return self.root / "portability.json"

    @property
    def environments(self) -> Path:
        """A folder for each runtime of the conformance run, with its packages alone."""
        return self.root / "environments"

    def zeros(self, name: str) -> Path:
        """The folder of the smaller forms of an ONNX file or module, by its name; those of a run lie beside it."""
        return self.root / "zeros" / name

    def search(self, model: str) -> Path:
        """The search of the hyper-parameters of `model`."""
        return self.root / "search" / model / "search.json"


def write_bytes(path: Path, content: bytes) -> None:
    """Write atomically: a reader sees either the whole old file or the whole new one, even after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under a header; None becomes an empty field, and a float keeps all its digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def as_json(record: Record) -> dict[str, Any]:  # what json.dumps and pytest-benchmark take
    """The record as a JSON object, checked.

    Raises:
        msgspec.ValidationError: a value is not what its field allows; a fault of this program.
    """
    content = msgspec.to_builtins(record)
    msgspec.convert(content, type(record))
    return dict(content)


def write_record(path: Path, record: Record) -> None:
    """Write a JSON file: the keys in the order of the record's fields, then the seal.

    Raises:
        ValueError: a value is not what its field allows, or not finite; a fault of this program.
    """
    write_text(path, json.dumps(sealed(as_json(record)), indent=2, allow_nan=False) + "\n")


def read_record(path: Path, kind: type[R], remedy: str) -> R:
    """The content of a JSON file.

    Raises:
        StudyError: the file is missing, is not JSON, not a record of this kind, or was changed after it was written;
            the message has the path inside the file and ends with `remedy`.
    """
    return to_sealed_record(parse(path, remedy), kind, str(path), remedy)


def to_sealed_record(content: object, kind: type[R], where: str, remedy: str) -> R:
    """The record that parsed JSON with a seal is; `where` names it in the message.

    Raises:
        StudyError: as `read_record`.
    """
    values = {key: value for key, value in content.items() if key != KEY} if isinstance(content, dict) else content
    record = to_record(values, kind, where, remedy)  # first: its message names the value
    assert isinstance(content, dict)
    if fault := damage(content):
        raise StudyError(f"{where}: {fault}; {remedy}")
    return record


def to_record(content: object, kind: type[R], where: str, remedy: str) -> R:
    """The record that parsed JSON is; `where` names it in the message.

    Raises:
        StudyError: as `read_record`.
    """
    expected = kind.__struct_config__.tag
    found = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if expected is not None and found != expected:
        raise StudyError(f"{where}: expected schema {expected!r}, found {found!r}; {remedy}")
    try:
        record = msgspec.convert(content, kind)
        if isinstance(content, dict) and (missing := kind.lacks(content)):
            raise msgspec.ValidationError(f"Object missing required field {missing}")
        return record
    except msgspec.ValidationError as error:
        raise StudyError(f"{where}: {error}{_found(content, str(error))}; {remedy}") from None


def _found(content: Any, message: str) -> str:
    """The value that breaks a constraint, which msgspec does not name, if its message has the whole path."""
    path = re.match(r"Expected `\w+` (?:[<>]|matching|of length).* - at `\$(\S+)`$", message)
    if path is None or "[...]" in path[1]:
        return ""
    for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", path[1]):
        content = content[key or int(index)]
    text = repr(content)
    return f", found {text if len(text) < 200 else text[:200] + '...'}"


def parse(path: Path, remedy: str) -> Any:
    """The JSON in a file.

    Raises:
        StudyError: the file is missing or is not JSON; the message ends with `remedy`.
    """
    try:
        return parse_text(read_plain(path))
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read as JSON ({error}); {remedy}") from None


def parse_text(text: bytes) -> Any:
    """The JSON in `text`.

    Raises:
        ValueError: it is none. NaN, Infinity and 1e400, which is beyond the largest number, are not, though Python
            accepts them.
    """
    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def current_export(files: RunFiles) -> ExportRecord:
    """The content of export.json, once the ONNX file is the one it describes, made from the checkpoint of run.json.

    Raises:
        StudyError: the ONNX file is missing or stale; the message names the file and the command to run.
    """
    remedy = f"run `python -m export {files.model}{files.variant.options}`"
    trained = read_record(files.record, RunRecord, f"run `python -m train {files.model}`")
    record = read_record(files.export, ExportRecord, remedy)
    if record.checkpoint_sha256 != trained.checkpoint_sha256:
        raise StudyError(f"{files.onnx} was made from another checkpoint than {files.checkpoint}; {remedy}")
    if not files.onnx.is_file():
        raise StudyError(f"{files.onnx} is missing; {remedy}")
    if sha256(files.onnx) != record.onnx_sha256:
        raise StudyError(f"{files.onnx} is not the file that {files.export} describes; {remedy}")
    return record
