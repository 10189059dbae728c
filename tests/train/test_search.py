"""The hyper-parameter search: its space, its trials, and its processes, which are killed, wait and continue."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from msgspec import structs
from optuna.trial import FrozenTrial, TrialState

from study import catalogue
from study.artifacts import Artifacts
from study.data import datasets
from study.data.tensors import load
from study.entries import LENET5, LENET5_GAP
from study.entry import Entry
from study.errors import StudyError
from study.recipe import Recipe
from study.record_files import as_json, read_record, write_record
from study.records.training import ImageCounts, RunRecord, SearchRecord
from tests.conftest import ROOT
from tests.support.study import layers, write_run
from train.search import command, progress, trials
from train.search import record as search_record
from train.search import space as search_space
from train.search.storage import FINISHED, Search, Storage, alone
from train.search.trials import Begun, Died, Ended, Epoch

LITTLE = Entry("little", LENET5, Recipe(epochs=2, batch_size=128, unshifted=1))
LITTLES = f"""
from study.catalogue import Entry
from study.recipe import Recipe
ENTRIES = [Entry("little", {LENET5!r}, Recipe(epochs=2, batch_size=128, unshifted=1))]
"""


def searched(folder: Path, data: Path = Path(), entry: Entry = LITTLE, epochs: int = 1, trials: int = 3) -> Search:
    return Search(entry, data, folder / "optuna.db", epochs, trials, training=1000, validation=500)


def states(storage: Storage) -> list[str]:
    return [trial.state.name for trial in storage.trials()]


# ---- the space


@pytest.mark.parametrize("name", ["baseline", "tuned", "cnn5"])
def test_every_trial_is_a_recipe_that_can_be_pasted_into_the_catalogue(name: str) -> None:
    entry = catalogue.entry(name)
    space = search_space.space(entry)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(50):
        trial = study.ask()
        search_space.suggest(trial, space)
        recipe = search_space.recipe(entry, trial.params)
        lowest, highest = (0.01, 0.3) if recipe.optimiser == "sgd" else (3e-4, 1e-2)
        assert lowest <= recipe.learning_rate <= highest
        assert (recipe.epochs, recipe.momentum, recipe.validation) == (entry.recipe.epochs, 0.9, 0)
        assert eval(search_space.line(recipe), {"Recipe": Recipe}) == recipe  # noqa: S307
        assert trials.trial_entry(searched(Path(), entry=entry), recipe).recipe.epochs == 1


def test_what_has_no_effect_is_not_searched() -> None:
    spaces = {name: set(search_space.space(catalogue.entry(name))) for name in ("baseline", "tuned", "cnn5")}
    assert spaces["tuned"] - spaces["baseline"] == {"dropout"}  # LeNet-5 has no such layer
    assert spaces["tuned"] - spaces["cnn5"] == {"warmup"}  # a constant rate


def test_a_recipe_outside_the_space_is_taken_for_the_nearest_point_of_it() -> None:
    entry = replace(LITTLE, recipe=Recipe(optimiser="adam", learning_rate=0.1, batch_size=100, shift=4))
    nearest = search_space.nearest(entry, search_space.space(entry))
    assert (nearest["optimiser"], nearest["learning_rate_adam"], nearest["batch_size"]) == ("adamw", 0.01, 128)
    assert (nearest["shift"], nearest["l2"], nearest["warmup"]) == (2, 1e-6, 0.2)
    assert "learning_rate_sgd" not in nearest


def test_a_trial_of_fewer_epochs_has_as_large_a_part_without_shifts() -> None:
    entry = replace(LITTLE, recipe=Recipe(epochs=30, unshifted=6))
    recipe = trials.trial_entry(searched(Path(), entry=entry, epochs=10), entry.recipe).recipe
    assert (recipe.epochs, recipe.unshifted) == (10, 2)


# ---- trials


def play(storage: Storage, *trials: list[float]) -> list[bool]:
    """Make trials with these validation errors, epoch by epoch; return whether each was pruned."""
    pruned = []
    for errors in trials:
        trial = storage.begin()
        assert trial is not None
        ends = [epoch for epoch, error in enumerate(errors, 1) if storage.report(trial.number, epoch, error)]
        storage.end(trial.number, errors[-1], f"after {ends}" if ends else None)
        pruned.append(bool(ends))
    return pruned


def test_the_first_trial_is_the_entrys_own_recipe(tmp_path: Path) -> None:
    own = Recipe(epochs=9, optimiser="adam", learning_rate=0.5, batch_size=10, l1=0.1, unshifted=0)  # outside the space
    storage = Storage(searched(tmp_path, entry=replace(LITTLE, recipe=own), trials=2))
    first, second = storage.begin(), storage.begin()
    assert first is not None
    assert second is not None
    assert storage.recipe(first) == own
    assert storage.recipe(second).optimiser != "adam"
    assert storage.begin() is None


@pytest.mark.parametrize("patience", [0, 3])
def test_a_search_continues_once_its_winner_is_in_the_catalogue(tmp_path: Path, patience: int) -> None:
    """Other values of the searched fields change nothing, not even the first trial."""
    entry = replace(LITTLE, recipe=structs.replace(LITTLE.recipe, patience=patience, validation=500 if patience else 0))
    Storage(searched(tmp_path, entry=entry))
    winner = structs.replace(LITTLE.recipe, optimiser="adamw", learning_rate=1e-3, batch_size=64, l2=1e-4, flip=False)
    storage = Storage(searched(tmp_path, entry=replace(LITTLE, recipe=winner)))
    first = storage.begin()
    assert first is not None
    assert storage.recipe(first) == LITTLE.recipe
    with pytest.raises(StudyError, match=r"of another search: recipe.momentum expected 0.5, found 0.9; --fresh"):
        Storage(searched(tmp_path, entry=replace(LITTLE, recipe=structs.replace(winner, momentum=0.5))))


def test_a_trial_whose_process_is_killed_every_time_is_given_up(tmp_path: Path) -> None:
    storage = Storage(searched(tmp_path, trials=1))
    for _ in range(3):
        trial = storage.begin()
        assert trial is not None
        assert storage.recipe(trial) == LITTLE.recipe
        storage.repeat(trial.number, killed=True)
    assert storage.begin() is None, "enough are finished"
    assert states(storage) == ["FAIL", "FAIL", "PRUNED"]
    reasons = [trial.reason for trial in search_record.record(storage, (0,)).trials]
    assert reasons == [*2 * ["its process ended"], "its process ended, as did 2 before it"]


def test_a_trial_that_is_ended_on_purpose_is_repeated_without_limit(tmp_path: Path) -> None:
    storage = Storage(searched(tmp_path, trials=1))
    for _ in range(5):
        storage.begin()
        storage.repeat_running(killed=False)
    assert states(storage) == [*5 * ["FAIL"], "WAITING"]


def test_a_search_whose_processes_are_killed_tries_the_same_recipes(tmp_path: Path) -> None:
    whole, killed = (Storage(searched(tmp_path / name, trials=4)) for name in ("whole", "killed"))
    for storage in (whole, killed):
        for n in range(20):
            if not (trial := storage.begin()):
                break
            if storage is killed and n in (1, 2, 4):
                storage.repeat(trial.number, killed=True)
            else:
                storage.end(trial.number, 0.5, None)
    tried = [[trial.params for trial in each.trials() if trial.state in FINISHED] for each in (whole, killed)]
    assert tried[0] == tried[1]
    assert len(tried[0]) == 4
    assert len(killed.trials()) == 7


def test_a_search_killed_between_the_steps_of_a_repetition_repeats_once(tmp_path: Path) -> None:
    storage = Storage(searched(tmp_path))
    trial = storage.begin()
    assert trial is not None
    storage.study.enqueue_trial(trial.params, user_attrs={"own": True, "repeats": 0, "deaths": 1})  # then it was killed
    storage.repeat_running(killed=True)
    assert states(storage) == ["FAIL", "WAITING"]


def test_trained_runs_are_not_replaced_by_a_winner(tmp_path: Path) -> None:
    """But for those of an earlier session of the same search."""
    artifacts = Artifacts(tmp_path)
    write_run(artifacts, "baseline", 0, layers(0))
    with pytest.raises(StudyError, match="seed0 has a run by another recipe, which the winner's would replace"):
        command.main(["baseline", "--trials", "1", "--artifacts", str(tmp_path)])


def test_trials_worse_than_the_median_are_pruned_from_half_their_epochs_on(tmp_path: Path) -> None:
    search = searched(tmp_path, epochs=4, trials=5)
    assert play(Storage(search), *5 * [[0.9, 0.3, 0.2, 0.1]]) == 5 * [False]
    storage = Storage(replace(search, trials=8))  # continues
    worse, good = [0.8, 0.4], [0.9, 0.3, 0.2, 0.05]
    assert play(storage, [1.0], worse, good) == [False, True, False], "not after the first epoch"
    record = search_record.record(storage, (0,))
    assert record.best is not None
    assert record.best.number == 7
    assert record.best.validation_error == 0.05 == min(t.validation_error or 1 for t in record.trials)
    assert [t.epochs for t in record.trials] == [4, 4, 4, 4, 4, 1, 2, 4]
    assert record.importance is None


def test_a_trial_sends_the_validation_error_of_each_epoch(few_data: Path) -> None:
    images = load(few_data, train=True)
    *epochs, end = trials.train(trials.Task(searched(few_data, epochs=2), 3, LITTLE.recipe), images)
    assert [type(event) for event in epochs] == [Epoch, Epoch]
    assert end == Ended(3, epochs[-1].error)
    wild = structs.replace(LITTLE.recipe, learning_rate=1e6)
    *_, end = trials.train(trials.Task(searched(few_data, epochs=2), 4, wild), images)
    assert isinstance(end, Ended)
    assert re.match(r"diverged: loss .* in epoch 1", end.reason or "")


def test_importance_finds_the_parameter_that_matters_among_pruned_trials_too() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    space = search_space.space(LITTLE)
    for number in range(60):
        trial = study.ask()
        search_space.suggest(trial, space)
        if number != 7:  # which diverged in its first epoch
            trial.report(trial.params["rotation"], 2)
        state = TrialState.PRUNED if number % 3 else TrialState.COMPLETE
        study.tell(trial, 0.5 if state is TrialState.COMPLETE else None, state=state)
    found = search_record.importance(study.get_trials(), epoch=2)
    assert found is not None
    assert max(found.shares, key=found.shares.__getitem__) == "rotation"
    assert sum(found.shares.values()) == pytest.approx(1)
    assert (found.trials, found.epoch) == (59, 2)
    assert search_record.importance(study.get_trials()[:20], epoch=2) is None  # 19 without the seventh


def test_a_search_from_before_a_field_of_recipe_goes_on_with_its_default(tmp_path: Path) -> None:
    storage = Storage(searched(tmp_path, tmp_path))
    older = as_json(storage.made_with())
    assert older["recipe"].pop("initialisation") == "own"
    storage.study.set_user_attr("made_with", older)
    Storage(searched(tmp_path, tmp_path))
    he = replace(LITTLE, recipe=structs.replace(LITTLE.recipe, initialisation="he"))
    with pytest.raises(StudyError, match=r"recipe\.initialisation expected 'he', found None|another search"):
        Storage(replace(searched(tmp_path, tmp_path), entry=he))


# ---- processes


def test_an_interrupted_search_continues_and_a_killed_process_is_replaced(few_data: Path, tmp_path: Path) -> None:
    blind = tmp_path / "FashionMNIST" / "raw"
    blind.mkdir(parents=True)
    for file in (few_data / "FashionMNIST" / "raw").iterdir():  # the test images are empty files: no trial reads them
        (blind / file.name).write_bytes(b"" if file.name.startswith("t10k") else file.read_bytes())
    storage = Storage(searched(tmp_path, tmp_path, trials=5))

    def interrupt(event: trials.Event) -> None:
        if isinstance(event, Ended):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trials.side_by_side(storage, 2, interrupt)
    assert not multiprocessing.active_children()
    assert storage.finished() == 1
    assert "RUNNING" not in states(storage)

    events: list[type] = []

    def kill(event: trials.Event) -> None:
        if isinstance(event, Begun) and not events:
            os.kill(next(p.pid or 0 for p in multiprocessing.active_children()), signal.SIGKILL)
        events.append(type(event))

    trials.side_by_side(storage, 2, kill)
    assert storage.finished() == 5
    assert events.count(Died) == 1
    assert not {"RUNNING", "WAITING"} & set(states(storage))
    again = {trial.user_attrs["repeats"]: trial for trial in storage.trials() if "repeats" in trial.user_attrs}
    failed = [trial for trial in storage.trials() if trial.state is TrialState.FAIL]
    assert sorted(again) == [trial.number for trial in failed]
    assert all(trial.params == again[trial.number].params for trial in failed)
    record = search_record.record(storage, (0,))
    assert {t.reason for t in record.trials if t.state == "failed"} == {"its process ended"}


SEARCHING = """
import sys
from pathlib import Path
from tests.train.test_search import searched
from train.search.storage import FINISHED, Storage, alone
from train.search.trials import side_by_side
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with alone(folder / "search.json", fresh=False):
        storage = Storage(searched(folder, Path(sys.argv[2]), trials=4))
        side_by_side(storage, 1, lambda event: print(type(event).__name__, event.number, flush=True))
"""


def test_a_second_search_waits_and_repeats_the_trial_of_a_killed_one(few_data: Path, tmp_path: Path) -> None:
    (tmp_path / "search_twice.py").write_text(SEARCHING)
    command = [sys.executable, str(tmp_path / "search_twice.py"), str(tmp_path), str(few_data)]
    options: dict[str, Any] = {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True}
    options["env"] = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, **options) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "Begun 0\n"
        with (
            pytest.raises(StudyError, match=f"process {killed.pid} searches; end it before"),
            alone(tmp_path / "x", True),
        ):
            pass
        with subprocess.Popen(command, **options) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == f"process {killed.pid} searches the same model: waiting for it\n"
            killed.kill()
            try:
                rest, _ = other.communicate(timeout=120)
            finally:
                other.kill()
    assert other.returncode == 0
    storage = Storage(searched(tmp_path, trials=4))
    assert storage.finished() == 4
    lost = storage.trials()[0]
    if lost.state is TrialState.FAIL:  # and was not completed before the process was killed
        (repeated,) = [t for t in storage.trials() if t.user_attrs.get("repeats") == 0]
        assert f"Ended {repeated.number}" in rest


def test_a_fresh_search_forgets_the_trials(tmp_path: Path) -> None:
    play(Storage(searched(tmp_path)), [0.5])
    assert states(Storage(searched(tmp_path, epochs=3), fresh=True)) == ["WAITING"]


def test_another_search_or_no_storage_at_all_is_refused(tmp_path: Path) -> None:
    Storage(searched(tmp_path))
    with pytest.raises(StudyError, match=r"of another search: trial_epochs expected 2, found 1; --fresh"):
        Storage(searched(tmp_path, epochs=2))
    gap = replace(LITTLE, network=LENET5_GAP, dataset="cifar10")
    with pytest.raises(StudyError, match=r'dataset expected "cifar10", found "fashion-mnist"; network expected '):
        Storage(searched(tmp_path, entry=gap))
    (tmp_path / "optuna.db").write_text("no database, and long enough to be read as the header of one" * 20)
    with pytest.raises(StudyError, match=r"optuna.db cannot be read .*not a database.*--fresh"):
        Storage(searched(tmp_path))


def test_a_storage_without_the_trials_of_search_json_is_refused(tmp_path: Path) -> None:
    """Emptied, of fewer trials, or of others; one with more is that of an interrupted search."""
    search, path = searched(tmp_path, trials=9), tmp_path / "search.json"
    storage = Storage(search)
    play(storage, [0.5], [0.4])
    write_record(path, search_record.record(storage, (0,)))
    play(storage, [0.3])
    search_record.refuse_lost_trials(storage, path)

    other, empty = tmp_path / "other", tmp_path / "empty"
    for folder, errors in ((empty, []), (other, [0.5, 0.4])):
        folder.mkdir()
        replaced = Storage(searched(folder, trials=9))
        play(replaced, *([error] for error in errors))
        expected = "optuna.db: expected the 2 trials of search.json, found 2 of them missing or changed"
        with pytest.raises(StudyError, match=expected + r" \(the first is 0\); put .* back, or .* --fresh"):
            search_record.refuse_lost_trials(replaced, path)


# ---- the command


def test_the_command_searches_goes_on_and_trains_the_winner_once(
    few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datasets, "prepare", lambda *_: few_data)
    file = tmp_path / "searched_models.py"
    file.write_text(LITTLES)
    artifacts = Artifacts(tmp_path)
    words = ["little", "--catalogue", str(file), "--artifacts", str(tmp_path)]
    words += ["--epochs", "1", "--seeds", "0,1", "--workers", "2", "--trials"]

    class Interrupted(progress.TrialDisplay):
        def show(self, event: trials.Event) -> None:
            super().show(event)
            if isinstance(event, Ended):
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(progress, "TrialDisplay", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            command.main([*words, "2"])
    assert read_record(artifacts.search("little"), SearchRecord, "").finished in {1, 2}
    assert not artifacts.runs("little")

    assert command.main([*words, "2"]) == 0
    record = read_record(artifacts.search("little"), SearchRecord, "")
    assert record.finished == 2
    assert record.images == ImageCounts(training=1001, validation=499)  # a third of each class, rounded
    assert record.best is not None
    assert record.best.validation_error == min(trial.validation_error or 1 for trial in record.trials)
    runs = artifacts.runs("little")
    assert [run.seed for run in runs] == [0, 1] == list(record.seeds)
    for run in runs:
        made = read_record(run.record, RunRecord, "")
        assert made.recipe == record.best.recipe
        assert (made.epochs, made.validation_error) == (2, None)
    before = [run.checkpoint.stat().st_mtime_ns for run in runs]
    capsys.readouterr()

    assert command.main([*words, "2"]) == 0
    said = capsys.readouterr().out
    assert "little: 2 trials are finished, of 2 wanted: nothing to search" in said
    assert "little seed 1: finished, recipe and network have not changed: nothing to do" in said
    assert f"validation error of the best trial {100 * record.best.validation_error:.2f} %" in said
    assert [run.checkpoint.stat().st_mtime_ns for run in runs] == before

    assert command.main([*words, "3"]) == 0
    assert read_record(artifacts.search("little"), SearchRecord, "").finished == 3
    artifacts.search("little").with_name("optuna.db").unlink()
    with pytest.raises(StudyError, match=r"optuna.db: expected the \d trials of search.json, found \d of them"):
        command.main([*words, "3"])


def test_without_optuna_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(StudyError, match=r"the search needs Optuna .*pip install -c constraints.txt optuna"):
        command.main(["baseline", "--trials", "3"])


def test_the_best_is_the_first_of_the_lowest_errors_and_never_a_pruned_trial() -> None:
    def ended(number: int, state: TrialState, value: float) -> FrozenTrial:
        trial = optuna.trial.create_trial(state=state, value=value)
        trial.number = number
        return trial

    pruned = ended(0, TrialState.PRUNED, 0.1)
    first, second = (ended(number, TrialState.COMPLETE, 0.2) for number in (1, 2))
    assert search_record.best([pruned, second, first]) is first
    assert search_record.best([pruned]) is None
