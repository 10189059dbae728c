"""The input files of a report, its output files, and whether it is up to date.

Needs nothing but the standard library and `study`, so that an unchanged report is recognised at once.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from analysis.inputs import web_runtime
from analysis.inputs.portability import onnx_files
from study import catalogue
from study.artifacts import Artifacts, RunFiles
from study.data.datasets import DATASETS
from study.errors import StudyError
from study.files import read_plain, sha256, there
from study.finished import untrained
from study.modules.files import ModuleFiles, changed, exported_modules
from study.record_files import read_record
from study.records.module import ModuleRecord

MODULES = "modules"
"""Name of a study with torch modules that are not trained here; its report is in report-modules."""
PROJECT = Path(__file__).resolve().parent.parent.parent
PICTURES = (
    *("sparsity", "weights_histogram", "pruning", "convergence", "history"),
    *("latency", "costs", "comparisons", "images_per_second", "accuracy"),
    *("overview", "errors", "confusion", "mistakes", "filters", "matrices"),
)
TABLES = ("summary", "runs", *PICTURES, "cold_starts", "zeros", "ranks")
OF_RUNS = (
    "runs",
    "pruning",
    "convergence",
    "history",
    "accuracy",
    "overview",
    "errors",
    "confusion",
    "mistakes",
    "filters",
)
"""Those tables and pictures that need a training."""
OF_MODULES = ("modules", "parity")
"""Further tables, if there are modules that are not trained here."""
JSON = ("sparsity", "weights_histogram")
"""Tables that are written as JSON too."""
REPORT = (
    *(f"{name}.csv" for name in TABLES),
    *(f"{name}.json" for name in JSON),
    "summary.md",
    "summary.tex",
    *(f"{name}{suffix}" for name in PICTURES for suffix in (".svg", ".png")),
    "index.html",
)
"""Every file of a complete report on trained models."""
SEARCHED = ("search", "importance")
"""Further tables and pictures, if the hyper-parameters of a model were searched."""
PROFILED = ("profile", "profile_modules")
"""Further tables, if there are profiles; the second one has a picture."""
LOADED = ("loads",)
"""A further table, if a load scenario was measured."""
PORTABILITY = tuple(f"portability{suffix}" for suffix in (".csv", ".md", ".svg", ".png"))
"""Further files, if the models were tried in other runtimes."""
VARIANTS = ("variants.csv", "variants.md")
"""Further files, if a run was exported as other variants too."""
TRY = "try.html"
"""A further page, if there are runs and onnxruntime-web was fetched."""

PACKAGES = ("jinja2", "matplotlib", "msgspec", "numpy", "onnx", "pandas", "scipy", "tabulate")


@dataclass(frozen=True)
class Inputs:
    """The models of a report, and their files."""

    artifacts: Artifacts
    models: tuple[str, ...]
    """The first one is the baseline."""
    runs: tuple[RunFiles, ...]
    modules: tuple[ModuleFiles, ...]
    """Of those models that are torch modules and were not trained here."""
    benches: tuple[Path, ...]
    """Files of `pytest bench`, anywhere; the default one may be missing."""
    measures: tuple[str, ...]
    """Names of the measures of sparsity."""
    study: str
    report: Path
    """The folder that the report is written into."""

    @property
    def searches(self) -> tuple[Path, ...]:
        """search.json of each model that has one."""
        return tuple(path for path in map(self.artifacts.search, self.models) if there(path))

    @property
    def portability(self) -> Path:
        """The result of `tox -e portability`, if it is there."""
        return self.artifacts.portability

    @property
    def variants(self) -> tuple[Path, ...]:
        """The files of all exports but the standard ones."""
        patterns = ("export-*.json", "model-*.onnx")
        return tuple(path for run in self.runs for name in patterns for path in sorted(run.folder.glob(name)))

    @property
    def forms(self) -> tuple[Path, ...]:
        """The smaller files that were made of modules, and their records."""
        folders = [self.artifacts.zeros(module.name) for module in self.modules]
        return tuple(path for folder in folders for path in sorted(folder.glob("*")))

    @property
    def has_try_page(self) -> bool:
        """Whether the models can be tried in a browser."""
        return bool(self.runs) and web_runtime.fetched(self.artifacts)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files of a complete report."""
        kinds = (".csv", ".svg", ".png") if self.searches else ()
        tried = PORTABILITY if there(self.portability) else ()
        exported = VARIANTS if self.variants else ()
        names = REPORT if self.runs else tuple(name for name in REPORT if Path(name).stem not in OF_RUNS)
        own = tuple(f"{name}.csv" for name in OF_MODULES) if self.modules else ()
        return (
            *names,
            *own,
            *(f"{name}{suffix}" for name in SEARCHED for suffix in kinds),
            *tried,
            *exported,
            *(self.has_try_page * (TRY,)),
        )

    @property
    def module_names(self) -> frozenset[str]:
        return frozenset(module.name for module in self.modules)

    @property
    def other_modules(self) -> frozenset[str]:
        """Those that have been exported and are not asked for: their measurements are not of this report."""
        return frozenset(module.name for module in exported_modules(self.artifacts)) - self.module_names

    @property
    def missing(self) -> tuple[str, ...]:
        """The models without a finished run."""
        there = {run.model for run in self.runs} | self.module_names
        return tuple(model for model in self.models if model not in there)

    def files(self) -> Iterator[Path]:
        """Every input file, whether it exists or not."""
        for run in self.runs:
            yield from (run.record, run.history, run.predictions, run.export, run.onnx, run.pruning)
        for module in self.modules:
            yield from (module.record, module.onnx, module.data)
        yield from self.searches
        yield from self.benches
        yield from self.artifacts.ab
        yield from self.variants
        yield from self.forms
        yield self.portability
        if there(self.portability):
            yield from onnx_files(self.artifacts)  # those that it is about are current

    def fingerprint(self) -> str:
        """SHA-256 of the models, the input files, this program and the packages that decide the output."""
        lines = [
            f"study {self.study}",
            f"models {' '.join(self.models)}",
            f"not of the report {' '.join(sorted(self.other_modules))}",
            f"measures {self.measures}",
            f"python {sys.version}",
        ]
        lines += [f"{package} {metadata.version(package)}" for package in PACKAGES]
        images = [one.name for one in DATASETS.values() if (self.artifacts.data / one.test_file).is_file()]
        lines += [f"images of {' '.join(images)}"]
        lines += [f"zstandard {bool(find_spec('zstandard'))}"]  # which need not be installed
        for path in self.files():
            name = path.relative_to(self.artifacts.root) if path.is_relative_to(self.artifacts.root) else path
            lines.append(f"{name} {sha256(path) if there(path) else 'missing'}")
        for module in self.modules:
            record = read_record(module.record, ModuleRecord, f"export {module.name} again")
            lines.append(f"{module.name} changed or missing {changed(record)}")
        lines += [f"{path.relative_to(PROJECT)} {sha256(path)}" for path in sources()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def mark(self) -> Path:
        """Holds the digests of the inputs and of the files of the report beside it; written last."""
        return self.report / "inputs.sha256"

    def marked(self, fingerprint: str) -> str:
        """The content of `mark` for inputs with this fingerprint and the files of the report as they are."""
        files = (f"{sha256(self.report / name)}  {name}\n" for name in self.outputs)
        return f"{fingerprint}  inputs\n{''.join(files)}"

    def reported(self, fingerprint: str) -> bool:
        """Whether there is a complete report of inputs with this fingerprint, as it was written."""
        complete = all((self.report / name).is_file() for name in (*self.outputs, self.mark.name))
        return complete and read_plain(self.mark) == self.marked(fingerprint).encode()


def sources() -> list[Path]:
    """The files that decide what a report looks like: this stage, and all of `study` but the networks."""
    patterns = (*(f"analysis/**/*.{kind}" for kind in ("py", "j2", "css", "js")), "study/**/*.py")
    files = {path for pattern in patterns for path in PROJECT.glob(pattern)}
    return sorted(files - set(PROJECT.glob("study/networks/*.py")))


def models_of(
    artifacts: Artifacts, names: Sequence[str], study: str, dataset: str = "", own: Sequence[str] = ()
) -> tuple[str, ...]:
    """The models called `names`, each once and in that order, or without names those of `study`.

    They are the catalogue's, the user's `own`, have runs among the artifacts, or are modules that have been exported
    there.

    Raises:
        StudyError: there is no such model or study, or a name is that of a trained model and of a module.
    """
    of_study = catalogue.select((), study, "" if names else dataset)
    if not names:
        return tuple(entry.name for entry in of_study)
    known = [entry.name for entry in catalogue.ENTRIES]
    modules = [module.name for module in exported_modules(artifacts)]
    models = []
    for name in names:
        runs = artifacts.runs(name)
        if runs and name in modules:
            raise StudyError(
                f"{name}: a trained model and a module are called so; export the module with another --name, and "
                f"delete {artifacts.root / 'modules' / name}"
            )
        if name in known and name not in modules:
            models += [entry.name for entry in catalogue.select([name], dataset=dataset)]
        elif runs or name in modules or name in own:
            models.append(name)
        else:
            exported = f"; the exported modules are: {', '.join(modules)}" if modules else ""
            raise StudyError(f"no model is called {name!r}; the catalogue has: {', '.join(known)}{exported}")
    return tuple(dict.fromkeys(models))


def find(
    artifacts: Artifacts,
    models: tuple[str, ...],
    benches: Sequence[Path] = (),
    measures: Sequence[str] = (),
    study: str = catalogue.DEFAULT_STUDY,
) -> Inputs:
    """The finished runs and modules of `models`, and the files of measurements: `benches`, or else that of `artifacts`.

    Raises:
        StudyError: there is no run and no module, or no file of a name in `benches`.
    """
    runs = tuple(run for model in models for run in artifacts.runs(model))
    trained = {run.model for run in runs}
    exported = {module.name: module for module in exported_modules(artifacts)}
    modules = tuple(exported[model] for model in models if model in exported and model not in trained)
    if not runs and not modules:
        others = f", or for the exported modules `python -m analysis --models {','.join(exported)}`" if exported else ""
        raise StudyError(f"{untrained(artifacts, models, argparse.Namespace())} and `python -m export`{others}")
    study = MODULES if modules and study == catalogue.DEFAULT_STUDY else study
    report = artifacts.report if study == catalogue.DEFAULT_STUDY else artifacts.report_on(study)
    measured = existing(benches) or (artifacts.bench,)
    return Inputs(artifacts, models, runs, modules, measured, tuple(measures), study, report)


def existing(benches: Sequence[Path]) -> tuple[Path, ...]:
    """These files of measurements, each once.

    Raises:
        StudyError: one of them is not there.
    """
    missing = next((path for path in benches if not there(path)), None)
    if missing is not None:
        raise StudyError(f"{missing} is missing; run `pytest bench --benchmark-json={missing}` to measure it")
    return tuple({path.resolve(): path for path in reversed(benches)}.values())[::-1]
