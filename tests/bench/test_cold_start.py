"""The cold start: time and memory of import, load and first call, in processes that really are fresh."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cases import Case
from bench.cold_start import MEMORY, STEPS, measure
from bench.models import Model, from_catalogue
from study import catalogue
from study.artifacts import SCHEMAS
from study.errors import StudyError
from tests.conftest import ROOT, Trained

Record = dict[str, Any]
MB = 1_000_000


@pytest.fixture(scope="module")
def gap(trained: Trained) -> Model:
    return from_catalogue(trained.artifacts, catalogue.entry("gap"))


@pytest.fixture(scope="module")
def torch(gap: Model) -> Record:
    """Two processes, started while this one holds 500 MB."""
    held = np.ones(500 * MB, np.uint8)
    found = measure(Case(gap, "torch", 1, against="onnxruntime"), 2, quick=False)
    assert held[::4096].all()
    return found


@pytest.fixture(scope="module")
def onnxruntime(gap: Model) -> Record:
    """A single process, at batch 32 on two threads."""
    return measure(Case(gap, "onnxruntime", 32, threads=2, mode="numpy"), 1, quick=True)


def ranges(record: Record) -> dict[str, dict[str, float]]:
    """Those of the values that were found in each process."""
    return {name: value for name, value in record.items() if isinstance(value, dict) and name != "machine"}


def test_the_record_is_what_its_schema_says(torch: Record, onnxruntime: Record) -> None:
    import jsonschema

    schema = json.loads((SCHEMAS / "bench.json").read_text())
    for record in (torch, onnxruntime):
        part = {"$ref": "#/$defs/cold_start", "$defs": schema["$defs"]}
        jsonschema.Draft202012Validator(part).validate(record)
        assert record.keys() == set(schema["$defs"]["cold_start"]["required"])


def test_the_record_says_what_was_started_and_how_often(torch: Record, onnxruntime: Record, gap: Model) -> None:
    keys = ("model", "seed", "onnx_sha256", "runtime", "batch", "threads", "device", "processes", "quick")
    alike = ("gap", 0, gap.onnx_sha256)
    assert [torch[key] for key in keys] == [*alike, "torch", 1, 1, "cpu", 2, False]
    assert [onnxruntime[key] for key in keys] == [*alike, "onnxruntime", 32, 2, "cpu", 1, True]


def test_the_median_lies_between_the_lowest_and_the_highest(torch: Record) -> None:
    found = ranges(torch)
    assert found.keys() == {f"{step}_seconds" for step in STEPS} | {f"{step}_bytes" for step in MEMORY}
    for name, each in found.items():
        assert each["lowest"] <= each["median"] <= each["highest"], name
        assert each["median"] == pytest.approx((each["lowest"] + each["highest"]) / 2), "of two it is their mean"
    assert found["total_seconds"]["lowest"] < found["total_seconds"]["highest"], "two processes, not one twice"


def test_the_total_of_a_single_process_is_the_sum_of_its_steps(onnxruntime: Record) -> None:
    found = ranges(onnxruntime)
    assert all(each["lowest"] == each["median"] == each["highest"] for each in found.values())
    value = {name: each["median"] for name, each in found.items()}
    steps = [value[f"{step}_seconds"] for step in ("import", "load", "first_call")]
    assert min(steps) > 0
    assert value["total_seconds"] == pytest.approx(sum(steps), rel=1e-12)
    assert value["peak_bytes"] == sum(value[f"{step}_bytes"] for step in ("import", "load", "run"))


def test_importing_torch_takes_its_memory_which_was_not_there_before(torch: Record, onnxruntime: Record) -> None:
    assert torch["import_bytes"]["lowest"] > 50 * MB
    assert torch["import_seconds"]["lowest"] > onnxruntime["import_seconds"]["highest"]


def test_what_the_parent_holds_is_not_counted(torch: Record) -> None:
    assert torch["peak_bytes"]["highest"] < 500 * MB


def test_a_process_that_fails_is_told_in_one_line(gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = "import sys\nclass Fails:\n    def __init__(self, *_): sys.exit('one\\nno engine here')\n"
    (tmp_path / "failing.py").write_text(
        engine + "    devices = needs_checkpoint = run = settings = to_native = to_numpy = context = close = ()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = r"^gap-failing:Fails-batch1-.*: its cold start failed with exit code 1: no engine here$"
    with pytest.raises(StudyError, match=message):
        measure(Case(gap, "failing:Fails", 1), 1, quick=True)


def test_it_does_not_matter_where_it_is_started_from(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench").mkdir()  # another `bench`, in the current folder and first on the path
    (tmp_path / "bench" / "__init__.py").write_text("raise SystemExit('the wrong bench')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    wrong = subprocess.run([sys.executable, "-m", "bench.cold_start"], capture_output=True, text=True)
    assert wrong.stderr == "the wrong bench\n"
    root = Path(os.path.relpath(trained.artifacts.root))
    model = from_catalogue(type(trained.artifacts)(root), catalogue.entry("gap"))
    found = measure(Case(model, "onnxruntime", 1), 1, quick=True)
    assert found["peak_bytes"]["median"] > 0
    assert Path.cwd() != ROOT
