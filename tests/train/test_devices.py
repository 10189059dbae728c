"""Training on a GPU, as far as that can be tested without one: its choice, its memory, the state of a run on it."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from study.artifacts import Artifacts, RunFiles
from study.entries import LENET5
from study.entry import Entry
from study.errors import StudyError
from study.recipe import Recipe
from tests.support import gpu
from tests.support.fitting import fit
from train import devices, engine, fitting, resume, worker
from train.fitting import Images
from train.progress import Display
from train.tasks import Epoch, Event, Failed, NoRoom, Resumed, Task
from train.trainer import Trainer

LITTLE = Entry("little", LENET5, Recipe(epochs=3, unshifted=1))


def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [devices.chosen(name) for name in ("cpu", "auto")] == ["cpu", "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [devices.chosen(name) for name in ("cpu", "auto", "cuda")] == ["cpu", "cuda", "cuda"]


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for version, found in ((None, "a build without CUDA"), ("12.8", "no GPU")):
        monkeypatch.setattr(torch.version, "cuda", version)
        with pytest.raises(StudyError, match=rf"expected a GPU that torch can use, found {found} .*--device cpu or"):
            devices.chosen("cuda")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), NoRoom),
        (RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), NoRoom),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), Failed),
    ],
)
def test_a_run_tells_a_full_gpu_from_other_failures(
    error: Exception,
    expected: type[NoRoom] | type[Failed],
    few_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "epochs", fails)
    event = worked(Task(LITTLE, Artifacts(tmp_path).run("little", 0), few_data), monkeypatch)
    assert isinstance(event, expected)
    assert str(error) in event.reason


def test_a_fresh_run_that_finds_no_room_is_not_finished(
    few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put back, and the result that it is to replace must not be taken for its own."""

    def fails(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    files = Artifacts(tmp_path).run("little", 0)
    files.folder.mkdir(parents=True)
    files.record.write_text("{}")
    files.resume.write_bytes(b"")
    monkeypatch.setattr(worker, "epochs", fails)
    assert isinstance(worked(Task(LITTLE, files, few_data, fresh=True), monkeypatch), NoRoom)
    assert not files.record.exists()
    assert not files.resume.exists()


def worked(task: Task, monkeypatch: pytest.MonkeyPatch) -> Event:
    """The first event of a task that is worked on in this process."""
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    worker.work(task, sender)
    event: Event = receiver.recv()
    return event


# ---- several runs on one GPU


def made(tmp_path: Path, runs: int, workers: int) -> list[tuple[int, Event]]:
    """The seed of each event's run, and the event, of runs on a made-up GPU."""
    artifacts, events = Artifacts(tmp_path), []
    tasks = [Task(LITTLE, artifacts.run("little", seed), tmp_path, fresh=True) for seed in range(runs)]
    engine.run(tasks, workers, lambda task, event: events.append((task.files.seed, event)))
    return events


def test_a_run_that_does_not_fit_beside_others_waits_for_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "work", gpu.take_place)
    events = made(tmp_path, runs=4, workers=3)
    refused = [seed for seed, event in events if isinstance(event, NoRoom)]
    assert len(refused) == 1, "from then on two are made at a time"
    assert sorted(seed for seed, event in events if event == Failed("done")) == [0, 1, 2, 3]


def test_a_run_that_does_not_fit_alone_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "work", gpu.full)
    reason = "the GPU's memory does not suffice (CUDA out of memory); train with --device cpu"
    assert made(tmp_path, runs=1, workers=1) == [(0, Failed(reason))]


def test_runs_that_refuse_each_other_room_are_made_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them fails before it has been alone."""
    monkeypatch.setattr(worker, "work", gpu.full_at_first)
    events = made(tmp_path, runs=2, workers=2)
    assert [event for _, event in events] == 2 * [NoRoom("CUDA out of memory")] + 2 * [Failed("done")]


def test_the_display_counts_no_epoch_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run that found no room and continues later."""
    task = Task(LITTLE, Artifacts(tmp_path).run("little", 0), tmp_path)
    display = Display([task])

    def completed(*events: Event) -> float:
        for event in events:
            display.show(task, event)
        return display.progress.tasks[display.total].completed

    first, second = (Epoch(number, 0.1, 1.5, 0.25, None, None, 1.0) for number in (1, 2))
    assert completed(first, NoRoom("CUDA out of memory")) == 1
    assert completed(Resumed(1)) == 1
    assert completed(second) == 2
    _, waits, resumed, _ = capsys.readouterr().out.splitlines()
    assert waits == "little seed 0: does not fit on the GPU beside the other runs; fewer run at a time from now on"
    assert resumed == "little seed 0: resumed after epoch 1 of 3"


# ---- an unfinished run of another device


def test_a_run_begun_on_a_gpu_is_not_continued_without_one(
    few: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Artifacts(tmp_path).run("little", 0)
    begin_on_a_gpu(files, few, monkeypatch)
    content = files.resume.read_bytes()
    assert b"cuda:0" in content, "as torch marks tensors of a GPU"
    expected = r"resume.pt: expected a run on cpu, found one on cuda; continue it with --device cuda, or .* --fresh"
    with pytest.raises(StudyError, match=expected):
        fit(LITTLE, files, few, lambda row: None)
    assert files.resume.read_bytes() == content, "nothing is lost"


def begin_on_a_gpu(files: RunFiles, images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the state of a run on a GPU after its first epoch."""
    trainer = Trainer(LITTLE, *images.train, seed=0)
    row = fitting._epoch(trainer, images, 0)
    trainer.device = "cuda"
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        resume.save(files, trainer, resume.State(fitting.made_with(LITTLE), [row], {}))


def test_a_state_from_a_gpu_is_read_without_one(few: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors of the state are those of the run, wherever they lay."""
    files = Artifacts(tmp_path).run("little", 0)
    begin_on_a_gpu(files, few, monkeypatch)
    trainer = Trainer(LITTLE, *few.train, seed=0)
    trainer.device = "cuda"  # with its network on the CPU
    state = resume.load(files, trainer, fitting.made_with(LITTLE))
    other = Trainer(LITTLE, *few.train, seed=0)
    row = fitting._epoch(other, few, 0)
    assert state is not None
    assert [replace(each, seconds=0) for each in state.history] == [replace(row, seconds=0)]
    loaded = trainer.network.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in other.network.state_dict().items())
