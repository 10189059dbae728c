"""Report on the study: tables, pictures and a page from what the earlier stages wrote. Needs no torch.

    python -m analysis                          the default study
    python -m analysis --models gap,l1-1e-3 --artifacts DIR
    python -m analysis --study cnn5             another study of the catalogue, into artifacts/report-cnn5
    python -m analysis --bench A.json,B.json    measurements from these files
    python -m analysis --models resnet18,mine   torch modules that were exported, into artifacts/report-modules
    python -m analysis --bench MINE.json --output my-report
    python -m analysis --publish                then copy it into docs/study and README.md
    python -m analysis results                  docs/results.md: every entry of the catalogue that has runs
    python -m analysis portability              which model runs where, from artifacts/portability.json
    python -m analysis sparsity FILE.onnx ...   the fully-connected layers of any ONNX file
    python -m analysis zeros MODEL              what its zeros are worth, as `python -m bench zeros` has measured it
    python -m analysis serve                    the models in a browser, on a page of this machine
    python -m analysis fetch-onnxruntime-web    what that needs, 33 MB; then the report gets try.html, one file of it

Reads artifacts/models, artifacts/bench.json and, if it is there, artifacts/portability.json; writes artifacts/report.
A report is made again only if its inputs have changed.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis import portability, results, serve, sparsity
from analysis.sparsity import joined
from study.catalogue import DEFAULT_STUDY, STUDIES
from study.command_line import Parser
from study.errors import StudyError, escaped, exit_with

if TYPE_CHECKING:
    from analysis.inputs.files import Inputs
    from analysis.measures.sparsity import Measure


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m analysis",
        description=(__doc__ or "").splitlines()[0],
        epilog="Other commands, each with --help: `python -m analysis sparsity FILE.onnx ...` for any ONNX file, "
        "`python -m analysis results` for the whole catalogue, `python -m analysis portability` for other runtimes.",
    )
    parser.add_argument(
        "--models",
        metavar="A,B",
        default="",
        help="models to report on, the first being the baseline: of the catalogue, or with runs among the artifacts, "
        "or exported torch modules (then into report-modules)",
    )
    parser.add_argument(
        "--study",
        metavar="NAME",
        default=DEFAULT_STUDY,
        help=f"which set of models: {', '.join(STUDIES)} (default: {DEFAULT_STUDY}); others go into report-NAME",
    )
    parser.add_argument("--dataset", metavar="NAME", default="", help="the same models for another data set: cifar10")
    parser.add_argument(
        "--catalogue",
        metavar="FILE",
        type=Path,
        help="the models of this Python file, if none is named; it is executed",
    )
    parser.add_argument("--artifacts", metavar="DIR", type=Path, default=Path("artifacts"), help="default: artifacts")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="the folder of the report, where it is not to replace the one among the artifacts (default: report, or "
        "report-NAME)",
    )
    parser.add_argument(
        "--bench",
        metavar="A.json,B.json",
        default="",
        help="files that `pytest bench` wrote, several being repeats (default: bench.json among the artifacts)",
    )
    parser.add_argument(
        "--measure",
        metavar="A,B",
        default="",
        help="further measures of sparsity, such as kappa4 or pq-mean(p=0.5,q=2), or all",
    )
    parser.add_argument("--fresh", action="store_true", help="make the report even if nothing has changed")
    parser.add_argument(
        "--publish", action="store_true", help="then copy the default study's report into docs/study and README.md"
    )
    return parser.parse_args(joined(words))


def main(words: Sequence[str] | None = None) -> int:
    """Make the report if its inputs have changed; `words` are the command line's unless given."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["sparsity"]:
        return sparsity.main(words[1:])
    if words[:1] == ["zeros"]:
        from analysis import zeros

        return zeros.main(words[1:])
    if words[:1] == ["results"]:
        return results.main(words[1:])
    if words[:1] == ["portability"]:
        return portability.main(words[1:])
    if words[:1] == ["serve"]:
        return serve.main(words[1:])
    if words[:1] == ["fetch-onnxruntime-web"]:
        return serve.fetch(words[1:])
    options = arguments(words)

    from analysis.inputs.files import PROJECT, find, models_of
    from analysis.measures.sparsity import chosen
    from study import locks
    from study.artifacts import Artifacts
    from study.catalogue import FASHION_MNIST, extended
    from study.files import there
    from study.finished import finished
    from study.modules.exported import refuse_another
    from study.modules.files import current_module, module_files
    from study.selection import own_names

    other = options.dataset if options.dataset != FASHION_MNIST else ""
    study = f"{options.study}-{other}" if other else options.study
    if options.publish:
        _publishable(study)
    names = [name for name in options.models.split(",") if name]
    named = bool(names)
    entries = extended(options.catalogue) if options.catalogue else ()
    if options.catalogue and not names:
        names = own_names(entries)
    benches = [Path(name) for name in options.bench.split(",") if name]
    measures = chosen(options.measure)
    artifacts = Artifacts(options.artifacts)
    for entry in entries:
        if entry.is_module and entry.name in names:
            remedy = f"run `python -m export {entry.name} --catalogue={options.catalogue}`"
            refuse_another(entry, files := module_files(artifacts, entry.name), remedy)
            current_module(files)
    models = models_of(artifacts, names, options.study, other, [entry.name for entry in entries])
    if names and (trainable := [name for name in models if not there(module_files(artifacts, name).record)]):
        finished(artifacts, trainable, options, named)
    inputs = find(artifacts, models, benches, [str(measure) for measure in measures], study)
    if options.publish:
        _publishable(inputs.study)
    if options.output:
        inputs = replace(inputs, report=options.output)

    def is_made() -> bool:
        made = not options.fresh and inputs.reported(inputs.fingerprint())
        if made:
            print(f"nothing to do: {inputs.report} is made from these inputs (--fresh makes it again)")
        return made

    if not is_made():
        with locks.folder_held(inputs.report):
            if not is_made():  # no other command has made it meanwhile
                make(inputs, measures)
    if options.publish:
        from analysis.inputs.study import read_study
        from analysis.pages.publish import publish

        for path in publish(inputs.report, read_study(inputs), PROJECT):
            print(f"wrote {path}")
    return 0


def _publishable(study: str) -> None:
    if study != DEFAULT_STUDY:
        raise StudyError(f"--publish: expected the default study, {DEFAULT_STUDY}, found {study}; leave out --publish")


def make(inputs: "Inputs", measures: "Sequence[Measure]") -> None:
    """Measure the prunable fraction of runs that lack it, then write the whole report, and its mark last."""
    from analysis.inputs.study import read_study
    from analysis.measures.pruning import current, measure_missing
    from analysis.pages import try_it
    from analysis.pages.report import write
    from study.files import write_text

    gc.disable()  # it would go through all that is read again and again, and find nothing
    try:
        study = read_study(inputs)
        gc.freeze()
        gc.enable()
        unmeasured = measure_missing([run.files for run in study.runs if run.pruning is None], inputs.artifacts.data)
        runs = tuple(run if run.pruning else replace(run, pruning=current(run.files)) for run in study.runs)
        study = replace(study, runs=runs, notes=(*study.notes, *unmeasured))
        fingerprint = inputs.fingerprint()  # includes the files just measured
        for note in study.notes:
            print(f"note: {escaped(note)}", file=sys.stderr)
        exported = [run.files for run in study.runs if run.export]
        try_page = try_it.page(inputs.artifacts, exported, embedded=True).html if inputs.has_try_page else ""
        inputs.mark.unlink(missing_ok=True)
        written = write(study, inputs.report, measures, inputs.artifacts.data, try_page)
        del study, runs  # the measurements go once they are in tables
        for path in written:
            print(f"wrote {path}")
    finally:
        gc.enable()
        gc.unfreeze()
    if not unmeasured:  # otherwise the next call measures again
        write_text(inputs.mark, inputs.marked(fingerprint))


if __name__ == "__main__":
    exit_with(main)
