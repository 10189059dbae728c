"""Train models of the catalogue: `python -m train [MODEL ...]`; list them: `python -m train --list`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from study import selection
from study.artifacts import Artifacts, RunFiles
from study.command_line import Parser
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, exit_with
from train import runs
from train.options import Shard, add_options, positive, settings, shard


def arguments() -> argparse.Namespace:
    parser = Parser(
        prog="python -m train",
        description=__doc__,
        epilog="See also: `python -m train search MODEL --trials N` (search hyper-parameters) and "
        "`python -m train merge FOLDER ...` (bring the runs of several folders together).",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names from the catalogue (default: all of --study)")
    selection.add_options(parser.add_argument)
    parser.add_argument("--epochs", type=positive, metavar="N", help="of each run (default: its recipe's)")
    add_options(parser)
    parser.add_argument(
        "--shard", type=shard, default=Shard(), metavar="I/N", help="every N-th of the runs, from the I-th on (1/4)"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--list", action="store_true", help="print the catalogue")
    group.add_argument("--evaluate", action="store_true", help="test the checkpoints instead of training")
    return parser.parse_args()


def main() -> int:
    if sys.argv[1:2] == ["search"]:
        from train.search import command

        return command.main(sys.argv[2:])
    if sys.argv[1:2] == ["merge"]:
        from train import merge

        return merge.main(sys.argv[2:])
    options = arguments()
    entries = selection.to_train(options, options.models)
    artifacts = Artifacts(options.artifacts)
    if options.list:
        from train.listing import lines

        print("\n".join(lines(selection.known(options))))
        return 0
    if options.evaluate:
        return evaluate(runs.listed(entries, options.seeds, artifacts, options.shard), artifacts, options.data)
    if options.epochs:
        entries = [replace(e, recipe=structs.replace(e.recipe, epochs=options.epochs)) for e in entries]
    wanted = runs.listed(entries, options.seeds, artifacts, options.shard)
    if not wanted:
        print(f"--shard {options.shard}: there are fewer runs than shards, none for this one")
    return runs.make(wanted, artifacts, settings(options))


def evaluate(wanted: Sequence[tuple[Entry, RunFiles]], artifacts: Artifacts, named: Path | None) -> int:
    """Compare the test error of every checkpoint with its run.json; 1 if one differs or is missing."""
    from study import checkpoints, evaluation
    from study.data import tensors
    from study.record_files import read_record
    from study.records.training import RunRecord

    finished = [(entry, files) for entry, files in wanted if files.record.exists()]
    if not finished:
        raise StudyError(f"no finished run of these models and seeds in {artifacts.root}; run `python -m train`")
    for entry, files in wanted:
        if not files.record.exists():
            run = f"{entry.name} seed {files.seed}"
            print(f"{run}: no finished run; run `python -m train {entry.name} --seeds {files.seed}`", file=sys.stderr)
    names = dict.fromkeys(entry.dataset for entry, _ in finished)
    data = datasets.prepare(names, artifacts.data, named)
    tests = {name: tensors.load(data, train=False, dataset=name) for name in names}
    same = 0
    for entry, files in finished:
        recorded = read_record(files.record, RunRecord, "train it again").test_error
        result = evaluation.evaluate(checkpoints.load(entry, files), *tests[entry.dataset])
        same += result.error == recorded
        verdict = "as in run.json" if result.error == recorded else f"run.json says {100 * recorded:.2f} %"
        text = f"test error {100 * result.error:.2f} %, loss {result.loss:.4f}, {verdict}"
        print(f"{entry.name} seed {files.seed}: {text}", flush=True)
    return 1 if same < len(wanted) else 0


if __name__ == "__main__":
    exit_with(main)
