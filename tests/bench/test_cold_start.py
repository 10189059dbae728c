"""The cold start: time and memory of import, load and first call, in processes that are really fresh."""

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import cold_start, session_folder
from bench.cases import Case
from bench.cold_start import BYTES, QUANTITIES, SECONDS, measure
from bench.models import Model, from_catalogue
from bench.sampling import Budget, TooSlowError
from study import catalogue, verified
from study.errors import StudyError
from study.files import sha256
from study.record_files import as_json
from study.records.bench import ColdStartRecord, Range
from tests.conftest import Trained

MB = 1_000_000


@pytest.fixture(scope="module")
def torch(gap: Model) -> ColdStartRecord:
    """Two processes, started while this one holds 500 MB."""
    held = np.ones(500 * MB, np.uint8)
    record = measure(Case(gap, "torch", 1, against=("onnxruntime",)), Budget(cold_starts=2))
    assert held[::4096].all()
    return record


@pytest.fixture(scope="module")
def onnxruntime(gap: Model) -> ColdStartRecord:
    """A single process, at batch 32 on two threads."""
    return measure(Case(gap, "onnxruntime", 32, threads=2, mode="numpy"), Budget(quick=True))


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


def test_the_load_of_ncnn_reads_converted_files(gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The converter is an engine's own start and more: it must not run in the cold start, nor find the model there."""
    monkeypatch.setenv(session_folder.FOLDER, str(tmp_path))
    measure(Case(gap, "ncnn", 1), Budget(quick=True))
    (made,) = tmp_path.iterdir()
    (made / "model.ncnn.param").unlink()
    with pytest.raises(StudyError, match="ncnn does not load the files that pnnx converted"):
        measure(Case(gap, "ncnn", 1), Budget(quick=True))


def test_the_checksum_of_a_checkpoint_is_not_part_of_its_load(gap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gap.run is not None
    files = gap.run
    hashed: list[Path] = []
    monkeypatch.setattr("study.files.sha256", lambda path: hashed.append(path) or sha256(path))  # type: ignore[func-returns-value]
    verified._checkpoint.cache_clear()
    verified.verified_checkpoint(files)
    begin, after = hashed.copy(), verified.verified_checkpoint(files)
    assert begin == hashed == [after]


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
        measure(Case(gap, "failing:Fails", 1), Budget(quick=True))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins processes")
def test_a_cold_start_runs_on_the_cores_that_are_chosen(
    gap: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = "import os, sys\nclass Shows:\n    def __init__(self, *_): sys.exit(str(os.sched_getaffinity(0)))\n"
    (tmp_path / "showing.py").write_text(
        engine + "    devices = needs_checkpoint = run = settings = to_native = to_numpy = context = close = ()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    core = max(os.sched_getaffinity(0))
    with pytest.raises(StudyError, match=rf": \{{{core}\}}$"):
        measure(Case(gap, "showing:Shows", 1), Budget(quick=True), {core})


def test_cold_starts_that_take_too_long_are_fewer_or_left_out(gap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process takes 50 s of the 60 that there are for each; one may also never end."""
    now, limits = [0.0], []

    def start(case: Case, given: Path, timeout: float, cpus: None) -> dict[str, float]:
        limits.append(timeout)
        now[0] += min(duration, timeout)
        if duration > timeout:
            raise subprocess.TimeoutExpired("python", timeout)
        return dict.fromkeys(QUANTITIES, 1.0)

    monkeypatch.setattr(cold_start, "_in_fresh_process", start)
    monkeypatch.setattr(cold_start, "time", SimpleNamespace(monotonic=lambda: now[0]))
    duration = 50.0
    assert measure(Case(gap, "torch", 1), Budget()).processes == 5
    assert limits == [300, 250, 200, 150, 100]
    duration = 110.0
    record = measure(Case(gap, "torch", 1), Budget())
    assert (record.processes, record.valid) == (2, False)
    assert record.reasons[0] == "2 of 5 cold starts ended within 300 s; give a longer --seconds"
    duration = math.inf
    with pytest.raises(TooSlowError, match="no cold start ended within 60 s; give --cold-starts 0 or"):
        measure(Case(gap, "torch", 1), Budget(quick=True))


def test_the_current_folder_does_not_matter(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench").mkdir()  # another `bench`, in the current folder and first on the path
    (tmp_path / "bench" / "__init__.py").write_text("raise SystemExit('the wrong bench')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    wrong = subprocess.run([sys.executable, "-m", "bench.cold_start"], capture_output=True, text=True)
    assert wrong.stderr == "the wrong bench\n"
    root = Path(os.path.relpath(trained.artifacts.root))
    model = from_catalogue(type(trained.artifacts)(root), catalogue.entry("gap"))
    assert measure(Case(model, "onnxruntime", 1), Budget(quick=True)).peak_bytes.median > 0
