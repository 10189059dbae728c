"""Train models of the catalogue: `python -m train [MODEL ...]`, or show it: `python -m train --list`."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from study import catalogue
from study.artifacts import DEFAULT_ROOT, Artifacts
from study.catalogue import Entry
from study.environment import cores
from study.errors import StudyError, exit_with


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names from the catalogue; without any, the study")
    parser.add_argument(
        "--study", default=catalogue.DEFAULT_STUDY, metavar="NAME", help="set of models (default: %(default)s)"
    )
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
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the Fashion-MNIST files (or STUDY_DATA)")
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
    options = arguments()
    if options.list:
        return list_catalogue()
    entries = catalogue.select(options.models, options.study)
    if options.evaluate:
        return evaluate(entries, options)
    return train(entries, options)


def list_catalogue() -> int:
    from study.networks import build, parameters

    print(f"{'model':12} {'network':34} {'parameters':>10}  recipe")
    for entry in catalogue.ENTRIES:
        recipe = entry.recipe
        shown = [f"{recipe.epochs} epochs", f"batch {recipe.batch_size}", f"lr {recipe.learning_rate:g}"]
        shown += [f"L1 {recipe.l1:g} ({recipe.l1_update})"] if recipe.l1 else []
        shown += [f"L2 {recipe.l2:g}"] if recipe.l2 else []
        print(f"{entry.name:12} {entry.network:34} {parameters(build(entry)):10,}  {', '.join(shown)}")
    for name, models in catalogue.STUDIES.items():
        print(f"study {name}: {', '.join(models)}" + (" (default)" if name == catalogue.DEFAULT_STUDY else ""))
    return 0


def train(entries: list[Entry], options: argparse.Namespace) -> int:
    if options.epochs:
        entries = [replace(e, recipe=replace(e.recipe, epochs=options.epochs)) for e in entries]
    artifacts = Artifacts(options.artifacts)

    from study import fashion_mnist
    from train import engine
    from train.fitting import is_finished
    from train.progress import Display

    data = fashion_mnist.prepare(artifacts.data, options.data)
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
    """Work of a run relative to others: floating-point operations of the forward pass times epochs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from study.fashion_mnist import SHAPE
    from study.networks import build

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build(entry).eval()(torch.zeros(2, *SHAPE))
    return float(counter.get_total_flops() * entry.recipe.epochs)


def evaluate(entries: list[Entry], options: argparse.Namespace) -> int:
    """Test error of every checkpoint, beside the one in its run.json; 1 if one differs or is not there."""
    from study import checkpoints, evaluation, fashion_mnist, images
    from study.artifacts import read_json

    artifacts = Artifacts(options.artifacts)
    runs = [(e, files) for e in entries for files in artifacts.runs(e.name) if files.seed in options.seeds]
    if not runs:
        raise StudyError(f"no finished run of these models and seeds in {artifacts.root}; run `python -m train`")
    there = {(entry.name, files.seed) for entry, files in runs}
    missing = [(e.name, seed) for e in entries for seed in options.seeds if (e.name, seed) not in there]
    for name, seed in missing:
        print(f"{name} seed {seed}: no finished run; run `python -m train {name} --seeds {seed}`", file=sys.stderr)
    test = images.load(fashion_mnist.prepare(artifacts.data, options.data), train=False)
    differing = len(missing)
    for entry, files in runs:
        recorded = read_json(files.record, "run/1", "train it again")["test_error"]
        found = evaluation.evaluate(checkpoints.load(entry, files), *test)
        same = found.error == recorded
        differing += not same
        verdict = "as in run.json" if same else f"run.json says {100 * recorded:.2f} %"
        text = f"test error {100 * found.error:.2f} %, loss {found.loss:.4f}, {verdict}"
        print(f"{entry.name} seed {files.seed}: {text}", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    exit_with(main)
