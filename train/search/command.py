"""Search the hyper-parameters of one model, then train it with the best: `python -m train search MODEL --trials N`.

Trials are validated on training images that they are not trained on. Test images are used only at the end, once in
each run of the winner, which is trained on all training images.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean

from study import catalogue
from study.artifacts import Artifacts, RunFiles
from study.command_line import Parser
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, one_line
from study.files import there
from study.record_files import read_record, write_record
from study.records.training import RunRecord, SearchRecord
from study.selection import to_train
from train import runs
from train.options import Settings, Shard, add_options, positive, settings

HELD_BACK = 3
"""One in this many training images is for validation: 20,000 of Fashion-MNIST's 60,000."""


def arguments(words: list[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m train search", description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="a name from the catalogue")
    parser.add_argument("--dataset", default="", metavar="NAME", help="the same model for another data set")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="a Python file with your own ENTRIES")
    parser.add_argument(
        "--trials",
        type=positive,
        required=True,
        metavar="N",
        help="trials to finish, earlier sessions included",
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="epochs of a trial (default: a third of the recipe's, with which the winner is trained)",
    )
    add_options(parser)
    parser.set_defaults(study=catalogue.DEFAULT_STUDY)
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    (entry,) = to_train(options, [options.model])
    try:
        import optuna  # noqa: F401
        import sqlalchemy
    except ImportError as error:
        raise StudyError(
            f"the search needs Optuna ({error}): `pip install -c constraints.txt optuna`, or use `tox -e search`"
        ) from None
    try:
        return search(entry, options)
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise StudyError(f"the storage of trials cannot be read or written ({one_line(error)})") from None


def search(entry: Entry, options: argparse.Namespace) -> int:
    """Make the missing trials, write search.json, then train and test the winner; one process a folder at a time."""
    from train.search.storage import alone

    artifacts = Artifacts(options.artifacts)
    data = datasets.prepare([entry.dataset], artifacts.data, options.data)
    how = settings(options, fresh=False)
    with alone(artifacts.search(entry.name), options.fresh):
        return _search_alone(entry, options, artifacts, data, how)


def _search_alone(entry: Entry, options: argparse.Namespace, artifacts: Artifacts, data: Path, how: Settings) -> int:
    from study.data.tensors import load
    from train.search.progress import TrialDisplay
    from train.search.record import best, record, refuse_lost_trials
    from train.search.space import line
    from train.search.storage import Search, Storage
    from train.search.trials import side_by_side
    from train.split import hold_out

    _, labels = load(data, train=True, dataset=entry.dataset)
    try:
        training, validation = hold_out(labels, len(labels) // HELD_BACK)
    except ValueError as error:
        raise StudyError(f"{entry.name}: {error}") from None
    path = artifacts.search(entry.name)
    refuse_to_replace(artifacts.runs(entry.name), path)
    epochs = options.epochs or max(1, round(entry.recipe.epochs / 3))
    database = path.with_name("optuna.db")
    storage = Storage(
        Search(entry, data, database, epochs, options.trials, len(training), len(validation), how.device), options.fresh
    )

    if path.exists():
        refuse_lost_trials(storage, path)
    finished = storage.finished()
    if finished >= options.trials:
        print(f"{entry.name}: {finished} trials are finished, of {options.trials} wanted: nothing to search")
    try:
        if finished < options.trials:
            with TrialDisplay(finished, options.trials, epochs) as display:
                if how.place:
                    from study.remote.cluster import capacity
                    from train import ray_engine

                    tasks = ray_engine.trials(storage.search, how.place)
                    side_by_side(storage, min(how.workers, capacity()), display.show, lambda: tasks)
                else:
                    side_by_side(storage, how.workers, display.show)
    finally:
        if storage.finished():
            write_record(path, record(storage, options.seeds))

    winner = best(storage.trials())
    if winner is None or winner.value is None:
        raise StudyError(f"{entry.name}: none of {options.trials} trials was completed; ask for more --trials")
    recipe = storage.recipe(winner)
    lowest, lengths = f"{100 * winner.value:.2f} %", f"epochs of a trial: {epochs}, of the winner: {recipe.epochs}"
    print(f"best trial: {winner.number}, validation error {lowest} ({lengths})")
    print(line(recipe))
    winning = replace(entry, recipe=recipe)
    wanted = runs.listed([winning], options.seeds, artifacts, Shard())
    code = runs.make(wanted, artifacts, how)
    if code:
        return code
    errors = [
        read_record(artifacts.run(entry.name, seed).record, RunRecord, "train it again").test_error
        for seed in options.seeds
    ]
    print(
        f"validation error of the best trial {lowest}, trained on {len(training):,} images for {epochs} epochs; "
        f"test error {100 * mean(errors):.2f} % ({', '.join(f'{100 * value:.2f}' for value in errors)}), "
        f"trained on {len(labels):,} for {recipe.epochs}; wrote {path}"
    )
    return 0


def refuse_to_replace(finished: list[RunFiles], search: Path) -> None:
    """Raise a StudyError if the winner's runs would replace one that this search has not made."""
    best = read_record(search, SearchRecord, "delete it").best if there(search) else None
    for files in finished:
        recipe = read_record(files.record, RunRecord, "train it again").recipe
        if best is None or recipe != best.recipe:
            raise StudyError(
                f"{files.folder} has a run by another recipe, which the winner's would replace; search into another "
                "folder with --artifacts DIR, or move it away"
            )
