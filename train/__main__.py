"""Train models of the catalogue: `python -m train [MODEL ...]`, or show it: `python -m train --list`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from study import selection
from study.artifacts import Artifacts
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, exit_with
from train import options, runs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description=__doc__,
        epilog="`python -m train search MODEL --trials N` searches hyper-parameters: `python -m train search -h`",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names from the catalogue; without any, the study")
    selection.add_options(parser.add_argument)
    parser.add_argument("--epochs", type=options.positive, metavar="N", help="instead of the number in each recipe")
    parser.add_argument("--engine", choices=["local"], default="local", help="where the runs are made")
    options.add_options(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--list", action="store_true", help="print the catalogue and leave")
    group.add_argument("--evaluate", action="store_true", help="load the checkpoints and test them instead of training")
    return parser.parse_args()


def main() -> int:
    if sys.argv[1:2] == ["search"]:
        from train.search import command

        return command.main(sys.argv[2:])
    asked = arguments()
    entries = selection.selected(asked, asked.models)
    artifacts = Artifacts(asked.artifacts)
    if asked.list:
        from train.listing import lines

        print("\n".join(lines(selection.known(asked))))
        return 0
    if asked.evaluate:
        return evaluate(entries, asked.seeds, artifacts, asked.data)
    if asked.epochs:
        entries = [replace(e, recipe=structs.replace(e.recipe, epochs=asked.epochs)) for e in entries]
    return runs.make(entries, asked.seeds, artifacts, asked.data, asked.workers, asked.fresh)


def evaluate(entries: Sequence[Entry], seeds: Sequence[int], artifacts: Artifacts, named: Path | None) -> int:
    """Test error of every checkpoint, beside the one in its run.json; 1 if one differs or is not there."""
    from study import checkpoints, evaluation
    from study.artifacts import read_record
    from study.data import tensors as images
    from study.records.training import RunRecord

    found = [(e, files) for e in entries for files in artifacts.runs(e.name) if files.seed in seeds]
    if not found:
        raise StudyError(f"no finished run of these models and seeds in {artifacts.root}; run `python -m train`")
    there = {(entry.name, files.seed) for entry, files in found}
    missing = [(e.name, seed) for e in entries for seed in seeds if (e.name, seed) not in there]
    for name, seed in missing:
        print(f"{name} seed {seed}: no finished run; run `python -m train {name} --seeds {seed}`", file=sys.stderr)
    names = dict.fromkeys(entry.dataset for entry, _ in found)
    data = datasets.prepare(names, artifacts.data, named)
    tests = {name: images.load(data, train=False, dataset=name) for name in names}
    differing = len(missing)
    for entry, files in found:
        recorded = read_record(files.record, RunRecord, "train it again").test_error
        now = evaluation.evaluate(checkpoints.load(entry, files), *tests[entry.dataset])
        same = now.error == recorded
        differing += not same
        verdict = "as in run.json" if same else f"run.json says {100 * recorded:.2f} %"
        text = f"test error {100 * now.error:.2f} %, loss {now.loss:.4f}, {verdict}"
        print(f"{entry.name} seed {files.seed}: {text}", flush=True)
    return 1 if differing else 0


if __name__ == "__main__":
    exit_with(main)
