"""Train models of the catalogue: `python -m train [MODEL ...]`, or show it: `python -m train --list`."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from study import catalogue, datasets
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.catalogue import Entry
from study.environment import cores
from study.errors import StudyError, exit_with, one_line
from study.selection import add_options, selected


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description=__doc__,
        epilog="`python -m train search MODEL --trials N` searches hyper-parameters: `python -m train search -h`",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names from the catalogue; without any, the study")
    add_options(parser.add_argument)
    parser.add_argument(
        "--seeds", type=_seeds, default=catalogue.DEFAULT_SEEDS, metavar="0,1,2", help="one run a seed (default: 0,1,2)"
    )
    parser.add_argument("--epochs", type=_positive, metavar="N", help="instead of the number in each recipe")
    parser.add_argument(
        "--workers",
        type=_positive,
        default=cores(),
        metavar="N",
        help="runs at a time (default: all cores, %(default)s)",
    )
    parser.add_argument("--engine", choices=["local"], default="local", help="where the runs are made")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data sets' files (or STUDY_DATA)")
    parser.add_argument(
        "--artifacts", type=Path, default=DEFAULT_ROOT, metavar="DIR", help="where results go (default: %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="train again what is finished or begun")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--list", action="store_true", help="print the catalogue and leave")
    group.add_argument("--evaluate", action="store_true", help="load the checkpoints and test them instead of training")
    return parser.parse_args()


def _seeds(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise argparse.ArgumentTypeError(f"expected numbers from 0 with commas between them, found {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1, found {text!r}")
    return int(text)


def main() -> int:
    if sys.argv[1:2] == ["search"]:
        from train import search

        return search.main(sys.argv[2:])
    options = arguments()
    entries = selected(options, options.models)
    if options.list:
        from train.listing import lines

        print("\n".join(lines()))
        return 0
    if options.evaluate:
        return evaluate(entries, options)
    return train(entries, options)


def train(entries: list[Entry], options: argparse.Namespace) -> int:
    if options.epochs:
        entries = [replace(e, recipe=replace(e.recipe, epochs=options.epochs)) for e in entries]
    artifacts = Artifacts(options.artifacts)

    from train import engine
    from train.fitting import is_finished
    from train.progress import Display

    data = datasets.prepare((entry.dataset for entry in entries), artifacts.data, options.data)
    tasks = []
    for entry in entries:
        for seed in options.seeds:
            task = engine.Task(entry, artifacts.run(entry.name, seed), data, options.fresh)
            if not options.fresh and is_finished(task.files, task.entry):
                print(f"{task.label}: finished, recipe and network have not changed: nothing to do")
            else:
                tasks.append(task)
    if not tasks:
        return 0

    costs = {entry.name: cost(entry) for entry in entries}
    tasks.sort(key=lambda task: -costs[task.entry.name])  # longest first: no core is left idle at the end
    failed: list[engine.Event] = []
    started = time.perf_counter()
    with Display(tasks) as display:

        def report(event: engine.Event) -> None:
            display.show(event)
            if event.kind == "failed":
                failed.append(event)

        engine.run(tasks, min(options.workers, len(tasks)), report)
    minutes = (time.perf_counter() - started) / 60
    print(f"{len(tasks) - len(failed)} of {len(tasks)} runs trained in {minutes:.1f} minutes under {artifacts.root}")
    for event in failed:
        print(f"FAILED: {event.task.label}: {event.content}")
    return 1 if failed else 0


def cost(entry: Entry) -> float:
    """Work of a run relative to others: floating-point operations of the forward pass, images and epochs multiplied.

    Raises:
        StudyError: the network does not take the images of its data set.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from study.networks import build

    dataset = datasets.find(entry.dataset)
    network = build(entry).eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            logits = network(torch.zeros(2, *dataset.shape))
    except Exception as error:  # whatever a user's network has against them
        raise StudyError(
            f"{entry.name}: {entry.network} does not take the images of {dataset.title}, float32 "
            f"{['N', *dataset.shape]} ({type(error).__name__}: {one_line(error)})"
        ) from None
    if logits.shape != (2, len(dataset.classes)):
        raise StudyError(
            f"{entry.name}: expected logits [N, {len(dataset.classes)}] of {entry.network}, found {list(logits.shape)} "
            "for 2 images"
        )
    return float(counter.get_total_flops() * entry.recipe.epochs * dataset.train_images)


def evaluate(entries: list[Entry], options: argparse.Namespace) -> int:
    """Test error of every checkpoint, beside the one in its run.json; 1 if one differs or is not there."""
    from study import checkpoints, evaluation, images
    from study.artifacts import read_json

    artifacts = Artifacts(options.artifacts)
    runs = [(e, files) for e in entries for files in artifacts.runs(e.name) if files.seed in options.seeds]
    if not runs:
        raise StudyError(f"no finished run of these models and seeds in {artifacts.root}; run `python -m train`")
    there = {(entry.name, files.seed) for entry, files in runs}
    missing = [(e.name, seed) for e in entries for seed in options.seeds if (e.name, seed) not in there]
    for name, seed in missing:
        print(f"{name} seed {seed}: no finished run; run `python -m train {name} --seeds {seed}`", file=sys.stderr)
    names = dict.fromkeys(entry.dataset for entry, _ in runs)
    data = datasets.prepare(names, artifacts.data, options.data)
    tests = {name: images.load(data, train=False, dataset=name) for name in names}
    differing = len(missing)
    for entry, files in runs:
        recorded = read_json(files.record, "run/1", "train it again")["test_error"]
        found = evaluation.evaluate(checkpoints.load(entry, files), *tests[entry.dataset])
        same = found.error == recorded
        differing += not same
        verdict = "as in run.json" if same else f"run.json says {100 * recorded:.2f} %"
        text = f"test error {100 * found.error:.2f} %, loss {found.loss:.4f}, {verdict}"
        print(f"{entry.name} seed {files.seed}: {text}", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    exit_with(main)
