"""Measure what the zeros of a model are worth: every form of it against the dense file, in turns.

    python -m bench zeros l1-1e-3        a trained model of the catalogue
    python -m bench zeros model.onnx     any ONNX file, with --shape, --size, --input and --feed where it needs them
    python -m bench zeros NAME           a torch module that `python -m export --module` has exported

It runs `python -m export` for the forms (without dead units, stored sparsely, int8), `python -m bench ab` for each of
them, and for PyTorch with dense against compressed rows, and at last `python -m analysis zeros`, where pandas is
installed. A form that does not exist, such as one without dead units where none is dead, is left out with the reason.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from study import children
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.catalogue import DEFAULT_STUDY
from study.selection import add_options
from study.variants import Variant

NEEDS = ("onnx", "scipy", "tabulate")
FORMS = (Variant(remove_dead=True), Variant(sparse=True), Variant(int8="static"), Variant(int8="dynamic"))
"""What is made of a trained model; static quantisation needs the images of a training, which a file has none of."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = __doc__
    add = parser.add_argument
    add("model", metavar="MODEL", help="a trained model, an exported module or an ONNX file")
    add("--shape", action="append", default=[], metavar="NAME=N,M", help="shape of an input of an ONNX file")
    add("--size", action="append", default=[], metavar="NAME=N", help="size of a named dimension of its inputs")
    add("--input", action="append", default=[], metavar="NAME=VALUE", help="its value, 16000, or range, 0..30521")
    add("--feed", action="append", default=[], metavar="FILE.npz", help="arrays for a call, by input")
    add("--cpus", default=None, metavar="N,M-K", help="cores that the processes run on (default: any)")
    add("--processes", default=5, type=int, metavar="N", help="pairs of fresh processes (default: %(default)s)")
    add("--seconds", default=2.0, type=float, metavar="S", help="in each, for a form (default: %(default)s)")
    add("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    add("--data", default=None, type=Path, metavar="DIR", help="folder with the files of the data sets")
    add_options(add)


@dataclass
class Plan:
    """The commands for one model: what makes each form, and what compares it."""

    options: argparse.Namespace
    name: str
    """In file names."""
    dense: str
    """As the word of a side of `bench ab`."""
    in_torch: bool
    given: list[str]
    """Options of its inputs, for files."""
    folder: Path | None = None
    """Of the forms of a file; those of a trained model lie beside it."""
    codes: list[int] = field(default_factory=list)

    @property
    def common(self) -> list[str]:
        words = ["--artifacts", str(self.options.artifacts)]
        for name, usual in (("study", DEFAULT_STUDY), ("dataset", ""), ("catalogue", None), ("data", None)):
            if self.folder is None and (value := getattr(self.options, name)) != usual:
                words += [f"--{name}", str(value)]
        return words

    def forms(self) -> Iterator[tuple[str, str]]:
        """Make each form; gives its name and its word as a side."""
        for variant in FORMS:
            asked = shlex.split(variant.options)
            if self.folder is None:
                files = Artifacts(self.options.artifacts).runs(self.name)[0].of(variant)
                if self.run("export", self.name, *asked, *self.common) == 0 and files.onnx.is_file():
                    yield variant.name, f"{self.name},variant={variant.name}"
            elif variant.int8 != "static":
                target = self.folder / f"{variant.name}.onnx"
                self.run("export", "compact", self.dense, "-o", str(target), *asked, *self.given)
                if made_of(Path(self.dense), target):
                    yield variant.name, str(target)

    def compare(self, name: str, a: str, b: str) -> None:
        """Compare two sides, and keep the record where the report looks for it."""
        target = self.options.artifacts / "ab" / f"zeros-{self.name}-{name}.json"
        effort = ["--processes", str(self.options.processes), "--seconds", f"{self.options.seconds:g}"]
        words = ["--json", str(target), *effort]
        words += ["--cpus", self.options.cpus] if self.options.cpus else []
        self.run("bench", "ab", a, b, *words, *self.common, *self.given)

    def run(self, *words: str) -> int:
        """Run a command of this project; its failure does not stop the others. Gives its exit code."""
        print(f"$ python -m {shlex.join(words)}", flush=True)
        self.codes.append(children.run([sys.executable, "-m", *words]).returncode)
        if self.codes[-1] == 130:
            raise KeyboardInterrupt
        return self.codes[-1]


def made_of(dense: Path, target: Path) -> bool:
    """Whether `target` is there and its record says that it was made of `dense`: it may have been there before."""
    from study.errors import StudyError
    from study.files import sha256
    from study.record_files import read_record
    from study.records.compact import CompactRecord

    try:
        record = read_record(target.with_suffix(".json"), CompactRecord, "")
        return (record.source_sha256, record.onnx_sha256) == (sha256(dense), sha256(target))
    except (StudyError, OSError):
        return False


def run(options: argparse.Namespace) -> int:
    """Make, compare and report; the exit code is the worst of all commands.

    Raises:
        StudyError: the comparison would refuse its options, or there is nothing of that name; nothing is made then.
    """
    from bench.commands.ab import check_effort
    from bench.machine.cpus import chosen_cpus

    check_effort(options.processes, options.seconds)
    chosen_cpus(options.cpus)
    plan = find_plan(options)
    for name, side in plan.forms():
        plan.compare(name, plan.dense, side)
    if plan.in_torch:
        plan.compare("torch-sparse", f"{plan.dense},runtime=torch", f"{plan.dense},runtime=torch-sparse")
    words = ["zeros", options.model, *plan.common]
    if find_spec("pandas"):
        plan.run("analysis", *words)
    else:
        print(f"now run `{shlex.join(['python', '-m', 'analysis', *words])}` in the environment of the analysis")
    return max(plan.codes)


def find_plan(options: argparse.Namespace) -> Plan:
    """The plan for what is called so: a trained model, then a module, then a file.

    Raises:
        StudyError: there is nothing of that name.
    """
    from study.errors import StudyError
    from study.finished import untrained
    from study.modules.exported import given_of
    from study.modules.files import current_module, module_files
    from study.onnx_given import parse_shapes
    from study.selection import known

    model, artifacts = options.model, Artifacts(options.artifacts)
    given = [
        word
        for name in ("shape", "size", "input", "feed")
        for one in getattr(options, name)
        for word in (f"--{name}", one)
    ]
    trainable = model in {entry.name for entry in known(options) if not entry.is_module}
    if trainable and artifacts.runs(model):
        if given:
            raise StudyError(f"{given[0]} applies to an ONNX file, {model} is a trained model")
        return Plan(options, model, model, in_torch=True, given=[])
    files = module_files(artifacts, model)
    if files.record.is_file():
        its = given_of(current_module(files))
        own = {word.partition("=")[0] for word in (*options.input, *options.size)}
        words = [f"--input={name}={values}" for name, values in its.values.items() if name not in own]
        words += [f"--size={name}={size}" for name, size in its.sizes.items() if name not in own]
        return Plan(
            options, model, str(files.onnx), in_torch=False, given=[*words, *given], folder=artifacts.zeros(model)
        )
    path = Path(model)
    if not path.is_file():
        if trainable:
            raise StudyError(untrained(artifacts, [model], options))
        raise StudyError(
            f"expected a trained model, an exported module or an ONNX file, found {model!r}; see `python -m train "
            "--list` and `python -m export --module`"
        )
    parse_shapes(options.shape)
    return Plan(options, path.stem, model, in_torch=False, given=given, folder=artifacts.zeros(path.stem))
