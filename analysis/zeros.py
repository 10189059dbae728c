"""What are the zeros of a model worth? The table of the report for one model, module or ONNX file.

    python -m analysis zeros l1-1e-3
    python -m analysis zeros model.onnx --format csv

It reads what `python -m bench zeros MODEL` has measured; without that it prints bounds, sizes, entropy and ranks.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.artifacts import DEFAULT_ROOT, Artifacts
from study.command_line import Parser
from study.errors import StudyError, print_error
from study.selection import add_options, known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.inputs.forms import Subject
    from analysis.weights.layers import Layer
    from study.records.ab import AbRecord


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m analysis zeros", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("models", metavar="MODEL", nargs="+", help="a trained model, an exported module or an ONNX file")
    add("--format", choices=("table", "csv"), default="table", help="csv: the columns of report/zeros.csv")
    add("--artifacts", default=DEFAULT_ROOT, type=Path, metavar="DIR", help="default: %(default)s")
    add("--data", default=None, type=Path, metavar="DIR", help=argparse.SUPPRESS)  # as `bench zeros` passes it on
    add_options(add)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(sys.argv[2:] if words is None else words)

    import pandas as pd

    from analysis.pages import zeros as page
    from analysis.tables import zeros as tables
    from analysis.tables.columns import as_csv

    artifacts = Artifacts(options.artifacts)
    subjects, frames, ranks, mistakes = [], [], [], 0
    for name in options.models:
        try:
            subject, paired, layers = _subject(name, artifacts, options)
            frames.append(tables.zeros([subject], paired))
            ranks.append(tables.ranks_of(layers))
            subjects.append(subject)
        except (StudyError, OSError) as error:
            print_error(error)
            mistakes += 1
    if not subjects:
        return 2
    table, layer_table = pd.concat(frames, ignore_index=True), pd.concat(ranks, ignore_index=True)
    print(as_csv(table) if options.format == "csv" else page.as_text(subjects, table, layer_table), end="")
    return 2 if mistakes else 0


def _subject(
    name: str, artifacts: Artifacts, options: argparse.Namespace
) -> "tuple[Subject, Sequence[AbRecord], list[tuple[Mapping[str, object], Layer]]]":
    """What is called so, the comparisons of `bench ab`, and its fully-connected layers with their labels.

    Raises:
        StudyError: there is nothing of that name, or it cannot be read.
    """
    from analysis.inputs.files import find
    from analysis.inputs.forms import of_file, of_study
    from analysis.inputs.study import read_paired, read_study
    from analysis.weights.layers import read
    from study.finished import untrained
    from study.modules.files import module_files

    if artifacts.runs(name) or module_files(artifacts, name).record.is_file():
        study = read_study(find(artifacts, (name,)))
        found = of_study(study)
        if not found:
            raise StudyError(f"{name} has no fully-connected layer")
        layers = [({"model": one.model, "seed": one.seed}, each) for one in study.files for each in one.layers]
        return found[0], study.paired, list(layers)
    path = Path(name)
    if not path.is_file():
        if name in {entry.name for entry in known(options) if not entry.is_module}:
            raise StudyError(untrained(artifacts, [name], options))
        raise StudyError(f"expected a trained model, an exported module or an ONNX file, found {name!r}")
    subject = of_file(path, artifacts)
    return subject, read_paired(artifacts), [({"model": subject.model, "seed": None}, one) for one in read(path).layers]
