"""Search the hyper-parameters of one model, then train it with the best: `python -m train search MODEL --trials N`.

Trials are validated on training images that they do not train on. The test images are used once for each of the runs
that the winner is trained in, on all training images, at the end.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean

from study import catalogue, datasets
from study.artifacts import DEFAULT_ROOT, Artifacts, read_json, write_json
from study.catalogue import Entry
from study.environment import cores
from study.errors import StudyError
from study.selection import selected
from train.__main__ import _positive, _seeds, train

HELD_BACK = 3
"""One of so many training images is for validation: 20,000 of Fashion-MNIST's 60,000."""


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train search", description=__doc__)
    parser.add_argument("model", metavar="MODEL", help="a name from the catalogue")
    parser.add_argument("--dataset", default="", metavar="NAME", help="the same model for another data set")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="a Python file with ENTRIES of your own")
    parser.add_argument(
        "--trials", type=_positive, required=True, metavar="N", help="so many are finished at the end, of all sessions"
    )
    parser.add_argument(
        "--epochs",
        type=_positive,
        metavar="N",
        help="of a trial (default: a third of the recipe's, which the winner gets)",
    )
    parser.add_argument(
        "--workers", type=_positive, default=cores(), metavar="N", help="trials at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=catalogue.DEFAULT_SEEDS, metavar="0,1,2", help="runs of the winner (0,1,2)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with the files of the data sets (or STUDY_DATA)"
    )
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="where results go (default: %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="forget an earlier search of this model")
    parser.set_defaults(study=catalogue.DEFAULT_STUDY)
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    options = arguments(words)
    (entry,) = selected(options, [options.model])
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise StudyError(
            f"the search needs Optuna ({error}): `pip install -c constraints.txt optuna`, or use `tox -e search`"
        ) from None
    return search(entry, options)


def search(entry: Entry, options: argparse.Namespace) -> int:
    """Make the trials that are missing, write search.json, and train and test the winner."""
    from study.images import load
    from train.search_progress import TrialDisplay
    from train.search_record import best, record
    from train.search_space import line
    from train.search_storage import WINNER, Search, Storage
    from train.split import hold_out
    from train.trials import side_by_side

    artifacts = Artifacts(options.artifacts)
    data = datasets.prepare([entry.dataset], artifacts.data, options.data)
    _, labels = load(data, train=True, dataset=entry.dataset)
    try:
        training, validation = hold_out(labels, len(labels) // HELD_BACK)
    except ValueError as error:
        raise StudyError(f"{entry.name}: {error}") from None
    path = artifacts.search(entry.name)
    storage = Storage(
        Search(
            entry=entry,
            data=data,
            storage=path.with_name("optuna.db"),
            epochs=options.epochs or max(1, round(entry.recipe.epochs / 3)),
            trials=options.trials,
            training=len(training),
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
            write_json(path, record(storage, options.seeds))

    winner = best(storage.trials())
    if winner is None or winner.value is None:
        raise StudyError(f"{entry.name}: none of {options.trials} trials was trained to its end; ask for more --trials")
    recipe = storage.recipe(winner)
    epochs = f"{storage.search.epochs} of {recipe.epochs} epochs"
    print(f"best trial: {winner.number}, validation error {100 * winner.value:.2f} % after {epochs}")
    print(line(recipe))
    with storage.locks.held(WINNER):  # of several processes that search together, one trains the winner
        code = train([replace(entry, recipe=recipe)], _as_for_training(options))
    if code:
        return code
    errors = [
        read_json(artifacts.run(entry.name, seed).record, "run/1", "train it again")["test_error"]
        for seed in options.seeds
    ]
    runs = ", ".join(f"{100 * error:.2f}" for error in errors)
    print(
        f"validation error of the best trial {100 * winner.value:.2f} %, trained on {len(training):,} images for "
        f"{storage.search.epochs} epochs; test error {100 * mean(errors):.2f} % ({runs}), trained on {len(labels):,} "
        f"for {recipe.epochs}; wrote {path}"
    )
    return 0


def _as_for_training(options: argparse.Namespace) -> argparse.Namespace:
    """The same options for `python -m train`: the recipe's own epochs, and what is trained already is kept."""
    return argparse.Namespace(**{**vars(options), "epochs": None, "fresh": False})
