"""The layout of an artifacts folder. docs/formats.md describes its files. No torch here."""

from dataclasses import dataclass, replace
from pathlib import Path

from study.errors import StudyError
from study.files import verify
from study.record_files import read_record
from study.records.export import ExportRecord
from study.records.training import RunRecord
from study.variants import STANDARD, STANDARD_NAME, Variant, options_of

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
            options = options_of(name)
            command = "--help" if options is None else f"{self.model}{options}"
            raise StudyError(
                f"{self.model} has not been exported as the variant {name!r}, only as: {', '.join(exported)}; "
                f"run `python -m export {command}`"
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

    @property
    def words(self) -> list[str]:
        """What names this folder on a command line: nothing for the usual one."""
        return [] if self.root == DEFAULT_ROOT else ["--artifacts", str(self.root)]

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

    @property
    def pack(self) -> Path:
        """A folder for each packed model, with inputs and expected outputs."""
        return self.root / "pack"

    def zeros(self, name: str) -> Path:
        """The folder of the smaller forms of an ONNX file or module, by its name; those of a run lie beside it."""
        return self.root / "zeros" / name

    def search(self, model: str) -> Path:
        """The search of the hyper-parameters of `model`."""
        return self.root / "search" / model / "search.json"


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
    verify(files.onnx, record.onnx_sha256, files.export.name, remedy)
    return record
