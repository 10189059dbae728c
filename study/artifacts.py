"""Where every artifact lies, and how it is written and read. No torch here.

The paths and keys are described in docs/formats.md. Every JSON begins with `"schema": "<kind>/<version>"` and is
checked against `study/schemas/<kind>.json` when it is read and before it is written. Every write is atomic.
"""

import csv
import hashlib
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

import jsonschema
import msgspec

from study.errors import StudyError
from study.records.base import Record
from study.records.bench import BenchRecord, JournalEntry
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.variants import STANDARD, STANDARD_NAME, Variant

R = TypeVar("R", bound=Record)

HISTORY = ("epoch", "lr", "train_loss", "train_error", "validation_loss", "validation_error", "seconds")
"""Columns of history.csv."""
PREDICTIONS = ("label", "predicted")
"""Columns of predictions.csv."""
SCHEMAS = Path(__file__).parent / "schemas"
DEFAULT_ROOT = Path("artifacts")


@dataclass(frozen=True)
class RunFiles:
    """The files of one run: one model trained with one seed. Those of its export are of one variant."""

    folder: Path
    model: str
    seed: int
    variant: Variant = STANDARD

    def of(self, variant: Variant) -> "RunFiles":
        """The same run's files with the export being `variant`."""
        return replace(self, variant=variant)

    def exported_as(self, name: str) -> "RunFiles":
        """The same run's files with the export being the variant of this name; "standard" is the standard form.

        Raises:
            StudyError: it has not been exported so; the message tells what it was exported as.
        """
        exported = {STANDARD_NAME: STANDARD}
        if name != STANDARD_NAME:  # which is there whatever lies beside it
            exported |= {variant.name: variant for variant in self.variants() if variant != STANDARD}
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
        """State after the last whole epoch of a run that is not finished; gone once it is."""
        return self.folder / "resume.pt"

    @property
    def onnx(self) -> Path:
        return self.folder / f"{self.variant.named('model')}.onnx"

    @property
    def card(self) -> Path:
        """What there is to know of the ONNX file, for people."""
        return self.folder / f"{self.variant.named('model')}.md"

    @property
    def export(self) -> Path:
        return self.folder / f"{self.variant.named('export')}.json"

    def variants(self) -> list[Variant]:
        """All that this run has been exported as, the standard one first.

        Raises:
            StudyError: an export's record cannot be read.
        """
        remedy = "delete it, or export that form again"
        records = (read_record(path, ExportRecord, remedy) for path in self.folder.glob("export*.json"))
        return sorted((record.variant for record in records), key=lambda variant: variant.name)

    @property
    def pruning(self) -> Path:
        """How many of the weights in `onnx` can be cut."""
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
    def report(self) -> Path:
        """The report on the default study."""
        return self.root / "report"

    def report_on(self, study: str) -> Path:
        """The report on another study."""
        return self.root / f"report-{study}"

    @property
    def portability(self) -> Path:
        """Which model computes the same in which runtime."""
        return self.root / "portability.json"

    @property
    def environments(self) -> Path:
        """A folder for each runtime that is tried: its packages, and nothing else."""
        return self.root / "environments"

    def search(self, model: str) -> Path:
        """How the hyper-parameters of `model` were searched."""
        return self.root / "search" / model / "search.json"


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write atomically: a reader sees the old file or the new one, whole, whatever happens in between."""
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
    """Write rows under a header; None becomes an empty field, and a float all its digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def as_json(record: Record) -> dict[str, Any]:  # for json.dumps, pytest-benchmark and csv, which take no records
    """The record as a JSON object, checked.

    Raises:
        msgspec.ValidationError: a value is not what its field allows; a fault of this program.
    """
    content: dict[str, Any] = msgspec.to_builtins(record)
    msgspec.convert(content, type(record))
    return content


def write_record(path: Path, record: Record) -> None:
    """Write a JSON file: the keys in the order of the record's fields.

    Raises:
        ValueError: a value is not what its field allows, or not finite; a fault of this program.
    """
    write_text(path, json.dumps(as_json(record), indent=2, allow_nan=False) + "\n")


def read_record(path: Path, kind: type[R], remedy: str) -> R:
    """The content of a JSON file.

    Raises:
        StudyError: the file is missing, is not JSON or not a record of this kind; the message has the path inside the
            file and ends with `remedy`.
    """
    return to_record(_parse(path, remedy), kind, str(path), remedy)


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
        return msgspec.convert(content, kind)
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


def read_bench_record(path: Path, remedy: str) -> BenchRecord:
    """The block `study` of a pytest-benchmark JSON file, with the `extra_info` of every case under `cases`.

    A session's journal is read too: what an interrupted session measured.

    Raises:
        StudyError: as `read_record`.
    """
    if path.suffix == ".journal":
        return _read_journal_record(path, remedy)
    content = _parse(path, remedy)
    try:
        study = {**content["study"], "cases": [b["extra_info"] for b in content["benchmarks"] if b["extra_info"]]}
    except (KeyError, TypeError):
        raise StudyError(f"{path}: expected the pytest-benchmark JSON of this project's bench; {remedy}") from None
    return to_record(study, BenchRecord, str(path), remedy)


def _read_journal_record(path: Path, remedy: str) -> BenchRecord:
    """A journal as the JSON would have it; a last line that was cut off is left out."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error}); {remedy}") from None
    entries = []
    for n, line in enumerate(lines, 1):
        try:
            content = json.loads(line, parse_constant=_refuse_constant)
        except ValueError as error:
            raise StudyError(f"{path}: line {n} cannot be read as JSON ({error}); {remedy}") from None
        entries.append(to_record(content, JournalEntry, f"{path}: line {n}", remedy))
    environments = [entry.environment for entry in entries if entry.environment]
    if len(environments) != 1:
        raise StudyError(f"{path}: expected a journal that begins with its session; {remedy}")
    return BenchRecord(
        environment=environments[0],
        harness_overhead_seconds=None,
        processes=1,
        cases=tuple(entry.case for entry in entries if entry.case),
        comparisons=tuple(entry.comparison for entry in entries if entry.comparison),
        cold_starts=tuple(entry.cold_start for entry in entries if entry.cold_start),
    )


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Check `record` against its schema and write it.

    Raises:
        jsonschema.ValidationError: the record is not what its schema says; a fault of this program.
    """
    _schema(record["schema"]).validate(record)
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, schema: str, remedy: str) -> dict[str, Any]:
    """The JSON object in `path`, checked against `schema`, such as "run/1".

    Raises:
        StudyError: the file is missing, is not JSON or not of that schema; the message ends with `remedy`.
    """
    record: dict[str, Any] = _parse(path, remedy)
    check(record, schema, str(path), remedy)
    return record


def read_bench(path: Path, remedy: str) -> dict[str, Any]:
    """The block `study` of a pytest-benchmark JSON file, with the `extra_info` of every case under "cases".

    A session's journal is read too: what an interrupted session measured.

    Raises:
        StudyError: as `read_json`.
    """
    if path.suffix == ".journal":
        record = _read_journal(path, remedy)
    else:
        content = _parse(path, remedy)
        try:
            record = {**content["study"], "cases": [b["extra_info"] for b in content["benchmarks"] if b["extra_info"]]}
        except (KeyError, TypeError):
            raise StudyError(f"{path}: expected the pytest-benchmark JSON of this project's bench; {remedy}") from None
    check(record, "bench/2", str(path), remedy)
    return record


def _read_journal(path: Path, remedy: str) -> dict[str, Any]:
    """The records of a journal as the JSON would have them; a last line that was cut off is left out."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error}); {remedy}") from None
    kinds = ("session", "case", "comparison", "cold_start", "end")
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for n, line in enumerate(lines, 1):
        try:
            entry = json.loads(line, parse_constant=_refuse_constant)
        except ValueError as error:
            raise StudyError(f"{path}: line {n} cannot be read as JSON ({error}); {remedy}") from None
        check(entry, "journal/1", f"{path}: line {n}", remedy)
        found[entry["kind"]].append(entry["record"])
    if len(found["session"]) != 1:
        raise StudyError(f"{path}: expected a journal that begins with its session; {remedy}")
    return {
        "schema": "bench/2",
        **found["session"][0],
        **{f"{kind}s": found[kind] for kind in ("case", "comparison", "cold_start")},
    }


def _parse(path: Path, remedy: str) -> Any:
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise StudyError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{path} cannot be read as JSON ({error}); {remedy}") from None


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


def check(record: Any, schema: str, where: str, remedy: str) -> None:
    """Raise a StudyError unless `record` is of `schema`; `where` names it in the message."""
    found = record.get("schema") if isinstance(record, dict) else type(record).__name__
    if found != schema:
        raise StudyError(f"{where}: expected schema {schema!r}, found {found!r}; {remedy}")
    fault = jsonschema.exceptions.best_match(_schema(schema).iter_errors(record))
    if fault is not None:
        message = fault.message if len(fault.message) < 200 else fault.message[:200] + "..."
        raise StudyError(f"{where}: {fault.json_path}: {message}; {remedy}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")  # Python's parser would take NaN and Infinity


@cache
def _schema(schema: str) -> jsonschema.Draft202012Validator:
    kind, version = schema.split("/")
    content = json.loads((SCHEMAS / f"{kind}.json").read_text())
    if content["properties"]["schema"]["const"] != f"{kind}/{version}":
        raise ValueError(f"study/schemas/{kind}.json does not describe {schema}")
    return jsonschema.Draft202012Validator(content)
