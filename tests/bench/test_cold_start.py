"""The cold start: time and memory of import, load and first call, in processes that are really fresh."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.cases import Case
from bench.cold_start import BYTES, QUANTITIES, SECONDS, measure
from bench.models import Model, from_catalogue
from study import catalogue
from study.artifacts import as_json
from study.errors import StudyError
from study.records.bench import ColdStartRecord, Range
from tests.conftest import Trained

pytestmark = pytest.mark.xdist_group("timing")
MB = 1_000_000


@pytest.fixture(scope="module")
def torch(gap: Model) -> ColdStartRecord:
    """Two processes, started while this one holds 500 MB."""
    held = np.ones(500 * MB, np.uint8)
    record = measure(Case(gap, "torch", 1, against="onnxruntime"), 2, quick=False)
    assert held[::4096].all()
    return record


@pytest.fixture(scope="module")
def onnxruntime(gap: Model) -> ColdStartRecord:
    """A single process, at batch 32 on two threads."""
    return measure(Case(gap, "onnxruntime", 32, threads=2, mode="numpy"), 1, quick=True)


def ranges(record: ColdStartRecord, names: tuple[str, ...] = QUANTITIES) -> list[Range]:
    return [getattr(record, name) for name in names]


def test_the_record_names_its_case_and_processes(
    torch: ColdStartRecord, onnxruntime: ColdStartRecord, gap: Model
) -> None:
    as_json(torch)
    as_json(onnxruntime)
    assert torch.key == Case(gap, "torch", 1).key
    assert onnxruntime.key == Case(gap, "onnxruntime", 32, threads=2, mode="native").key
    assert [(each.processes, each.quick) for each in (torch, onnxruntime)] == [(2, False), (1, True)]
    assert onnxruntime.reasons[0] == "a quick run: 1 process is only a smoke test; leave out --quick"
    assert (onnxruntime.valid, torch.valid) == (False, torch.reasons == ())


def test_the_median_lies_between_the_lowest_and_the_highest(torch: ColdStartRecord) -> None:
    for each in ranges(torch):
        assert each.lowest <= each.median <= each.highest
        assert each.median == pytest.approx((each.lowest + each.highest) / 2), "the mean of two"
    assert torch.total_seconds.lowest < torch.total_seconds.highest, "two processes, not one twice"


def test_the_total_of_a_single_process_is_the_sum_of_its_steps(onnxruntime: ColdStartRecord) -> None:
    assert all(each.lowest == each.median == each.highest for each in ranges(onnxruntime))
    *seconds, total = (each.median for each in ranges(onnxruntime, SECONDS))
    assert min(seconds) > 0
    assert total == pytest.approx(sum(seconds), rel=1e-12)
    *grown, peak = (each.median for each in ranges(onnxruntime, BYTES))
    assert peak == sum(grown)


def test_the_import_of_torch_takes_memory_that_the_parent_does_not_lend(
    torch: ColdStartRecord, onnxruntime: ColdStartRecord
) -> None:
    assert torch.import_bytes.lowest > 50 * MB
    assert torch.import_seconds.lowest > onnxruntime.import_seconds.highest
    assert torch.peak_bytes.highest < 500 * MB, "without the memory of the parent"


def test_a_process_that_fails_is_reported_in_one_line(
    gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = "import sys\nclass Fails:\n    def __init__(self, *_): sys.exit('one\\nno engine here')\n"
    (tmp_path / "failing.py").write_text(
        engine + "    devices = needs_checkpoint = run = settings = to_native = to_numpy = context = close = ()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = r"^gap-failing:Fails-batch1-.*: its cold start failed with exit code 1: no engine here$"
    with pytest.raises(StudyError, match=message):
        measure(Case(gap, "failing:Fails", 1), 1, quick=True)


def test_the_current_folder_does_not_matter(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench").mkdir()  # another `bench`, in the current folder and first on the path
    (tmp_path / "bench" / "__init__.py").write_text("raise SystemExit('the wrong bench')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    wrong = subprocess.run([sys.executable, "-m", "bench.cold_start"], capture_output=True, text=True)
    assert wrong.stderr == "the wrong bench\n"
    root = Path(os.path.relpath(trained.artifacts.root))
    model = from_catalogue(type(trained.artifacts)(root), catalogue.entry("gap"))
    assert measure(Case(model, "onnxruntime", 1), 1, quick=True).peak_bytes.median > 0
