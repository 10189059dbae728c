"""Search the hyper-parameters of one model, then train it with the best: `python -m train search MODEL --trials N`.

Trials are validated on training images that they do not train on. The test images are used once for each of the runs
that the winner is trained in, on all training images, at the end.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean

from study import catalogue
from study.artifacts import Artifacts, RunFiles, read_json, write_json
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, one_line
from study.recipe import recorded
from study.selection import selected
from train import runs as training
from train.options import add_options, positive

HELD_BACK = 3
"""One of so many training images is for validation: 20,000 of Fashion-MNIST's 60,000."""


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train search", description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="a name from the catalogue")
    parser.add_argument("--dataset", default="", metavar="NAME", help="the same model for another data set")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="a Python file with ENTRIES of your own")
    parser.add_argument(
        "--trials", type=positive, required=True, metavar="N", help="so many are finished at the end, of all sessions"
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="of a trial (default: a third of the recipe's, which the winner gets)",
    )
    add_options(parser)
    parser.set_defaults(study=catalogue.DEFAULT_STUDY)
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    (entry,) = selected(options, [options.model])
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
    """Make the trials that are missing, write search.json, and train and test the winner."""
    from study.data.tensors import load
    from train.search.progress import TrialDisplay
    from train.search.record import best, record
    from train.search.space import line
    from train.search.storage import WINNER, WRITING, Search, Storage
    from train.search.trials import side_by_side
    from train.split import hold_out

    artifacts = Artifacts(options.artifacts)
    data = datasets.prepare([entry.dataset], artifacts.data, options.data)
    _, labels = load(data, train=True, dataset=entry.dataset)
    try:
        part, validation = hold_out(labels, len(labels) // HELD_BACK)
    except ValueError as error:
        raise StudyError(f"{entry.name}: {error}") from None
    path = artifacts.search(entry.name)
    refuse_to_replace(artifacts.runs(entry.name), path)
    storage = Storage(
        Search(
            entry=entry,
            data=data,
            storage=path.with_name("optuna.db"),
            epochs=options.epochs or max(1, round(entry.recipe.epochs / 3)),
            trials=options.trials,
            training=len(part),
            validation=len(validation),
        ),
        options.fresh,
    )

    finished = storage.finished()
    if finished >= options.trials:
        print(f"{entry.name}: {finished} trials are finished, of {options.trials} wanted: nothing to search")
    try:
        if finished < options.trials:
            with TrialDisplay(finished, options.trials, storage.search.epochs) as display:
                side_by_side(storage, options.workers, display.show)
    finally:
        if storage.finished():
            with storage.locks.held(WRITING):  # what another process has written meanwhile knows no more than this
                write_json(path, record(storage, options.seeds))

    winner = best(storage.trials())
    if winner is None or winner.value is None:
        raise StudyError(f"{entry.name}: none of {options.trials} trials was trained to its end; ask for more --trials")
    recipe = storage.recipe(winner)
    epochs = f"{storage.search.epochs} of {recipe.epochs} epochs"
    print(f"best trial: {winner.number}, validation error {100 * winner.value:.2f} % after {epochs}")
    print(line(recipe))
    if not storage.locks.is_free(WINNER):
        print("another process trains the winner: waiting for it", flush=True)
    with storage.locks.held(WINNER):  # of several processes that search together, one trains the winner
        winning = replace(entry, recipe=recipe)
        code = training.make([winning], options.seeds, artifacts, options.data, options.workers, fresh=False)
    if code:
        return code
    errors = [
        read_json(artifacts.run(entry.name, seed).record, "run/1", "train it again")["test_error"]
        for seed in options.seeds
    ]
    runs = ", ".join(f"{100 * error:.2f}" for error in errors)
    print(
        f"validation error of the best trial {100 * winner.value:.2f} %, trained on {len(part):,} images for "
        f"{storage.search.epochs} epochs; test error {100 * mean(errors):.2f} % ({runs}), trained on {len(labels):,} "
        f"for {recipe.epochs}; wrote {path}"
    )
    return 0


def refuse_to_replace(finished: list[RunFiles], search: Path) -> None:
    """Raise a StudyError if there is a run that this search has not made: the winner's would replace it."""
    best = read_json(search, "search/1", "delete it")["best"] if search.is_file() else None
    for files in finished:
        recipe = read_json(files.record, "run/1", "train it again")["recipe"]
        if best is None or recorded(recipe) != recorded(best["recipe"]):
            raise StudyError(
                f"{files.folder} has a run by another recipe, which the winner's would replace; search into another "
                "folder with --artifacts DIR, or move it away"
            )
