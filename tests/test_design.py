"""The rules of the layout: who may import whom, and what starts without torch."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

STAGES = {"train", "export", "bench", "analysis"}
FLOORS = ("weights", "measures", "inputs", "tables", "plots", "pages")


def imports(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it; of `from package import name` also `package.name`."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def packages(file: Path) -> set[str]:
    """The top-level packages that a file imports."""
    return {name.partition(".")[0] for name in imports(file)}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    files = list((ROOT / stage).rglob("*.py"))
    assert len(files) > 1
    for file in files:
        assert not packages(file) & (STAGES - {stage}), file


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_of_analysis_imports_only_lower_floors(floor: str) -> None:
    higher = tuple(f"analysis.{name}." for name in FLOORS[FLOORS.index(floor) + 1 :])
    rooms = {f"analysis.{name}." for name in FLOORS}
    files = list((ROOT / "analysis" / floor).rglob("*.py"))
    assert len(files) > 1
    for file in files:
        ours = {name for name in imports(file) if name.startswith("analysis.")}
        assert not [name for name in ours if name.startswith(higher)], file
        assert all(any(f"{name}.".startswith(room) for room in rooms) for name in ours), f"{file}: imports a command"


@pytest.mark.parametrize("folder", ["machine", "statistics"])
def test_a_folder_of_bench_that_knows_no_engine_imports_no_other(folder: str) -> None:
    files = list((ROOT / "bench" / folder).rglob("*.py"))
    assert len(files) > 1
    for file in files:
        ours = [name for name in imports(file) if name.startswith("bench.")]
        assert all(f"{name}.".startswith(f"bench.{folder}.") for name in ours), file


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = [file for package in ("study", *sorted(STAGES)) for file in (ROOT / package).rglob("*.py")]
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    list(
        TopologicalSorter({name: imports(file) & names.keys() - {name} for name, file in names.items()}).static_order()
    )


def test_the_nouns_import_no_stage() -> None:
    for file in (ROOT / "study").rglob("*.py"):
        assert not packages(file) & STAGES, file


def test_analysis_mentions_no_torch_and_onnxruntime_only_where_it_runs_what_it_reads() -> None:
    run = ("measures/magnitude.py", "measures/pruning.py", "weights/probe.py")
    runs = {ROOT / "analysis" / name for name in run}
    for file in (ROOT / "analysis").rglob("*.py"):
        assert not packages(file) & {"torch", "torchvision"}, file
        assert file in runs or "onnxruntime" not in packages(file), file


OPENED_ELSEWHERE = {
    *("study/files.py", "study/errors.py"),
    *("study/children.py", "study/system_files.py", "study/remote/cluster.py", "study/locks.py"),  # the system's, locks
    *(
        "study/modules/namesakes.py",
        "analysis/pages/index.py",
        "analysis/pages/publish.py",
        "analysis/pages/try_it.py",
    ),  # this project's pages
    *("study/onnx_cut.py", "analysis/weights/benchmark.py"),  # they write
    *("study/data/cifar10.py", "study/pictures.py", "analysis/inputs/web_runtime.py"),  # from bytes
    *("analysis/weights/layers.py", "analysis/weights/proof.py", "analysis/weights/work.py"),  # study.onnx_data.File
    "train/experiments/ray.py",
}
"""Files that open others without `study.files`: no file from outside or from an earlier command."""


def test_files_from_outside_are_opened_in_one_place() -> None:
    """There a pipe, a device or a folder is refused; a library that opens by name is given what was checked."""
    opening = {"open", "read_text", "read_bytes", "fromfile", "memmap"}
    found = {
        str(file.relative_to(ROOT))
        for package in ("study", "train", "analysis")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and (getattr(node.func, "id", "") or getattr(node.func, "attr", "")) in opening
    }
    assert found <= OPENED_ELSEWHERE


@pytest.mark.parametrize(
    "module", ["study.catalogue", "study.artifacts", "study.data.datasets", "study.selection", "study.environment"]
)
def test_module_imports_no_torch(module: str) -> None:
    assert "torch" not in modules_after(f"import {module}")


@pytest.mark.parametrize("module", ["analysis.weights.layers", "analysis.measures.sparsity"])
def test_reading_weights_needs_no_engine_and_no_tables(module: str) -> None:
    assert not modules_after(f"import {module}") & {"torch", "onnxruntime", "pandas", "matplotlib", "scipy"}


@pytest.mark.parametrize(
    "command",
    [
        *(
            "train",
            "train search",
            "train merge",
            "train.experiments.throughput",
            "export",
            "export check",
            "export conformance",
            "export compact",
            "export pack",
            "export verify",
        ),
        *("analysis", "analysis sparsity", "analysis portability", "analysis zeros"),
    ],
)
def test_help_imports_no_torch(command: str) -> None:
    stage = command.split()[0]
    script = f"""
import contextlib, io, runpy
sys.argv = {[*command.split(), "--help"]!r}
with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
    runpy.run_module({stage!r}, run_name="__main__")
assert "usage: python -m {command}" in shown.getvalue()
"""
    heavy = {"torch", "pandas", "matplotlib", "onnx", "onnxruntime", "optuna"}
    assert not modules_after(script) & heavy


def modules_after(script: str) -> set[str]:
    """The top-level modules loaded in a fresh interpreter once it has run `script`."""
    script = f"import sys\n{script}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())
