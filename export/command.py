"""`python -m export`: export the finished runs that have no current ONNX file, refresh the model cards of the others.

No torch until there is something to export.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from export.card import write_card
from export.outcome import DONE, REFUSED, is_current
from study import locks
from study.artifacts import Artifacts, RunFiles
from study.cores import allotted_cores
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, print_error
from study.finished import finished
from study.remote.cluster import Place
from study.remote.options import on_ray
from study.selection import selected
from study.variants import OPSET, Variant


def export_models(options: argparse.Namespace) -> int:
    """Export what the command line asks for, unless it is current; gives the exit code.

    Raises:
        StudyError: a model has no finished run, or an option is wrong. An error of one run is printed, and the others
            go on.
    """
    variant = Variant(
        opset=options.opset,
        input=options.input,
        simplify=options.simplify,
        int8=options.int8,
        remove_dead=options.remove_dead,
        sparse=options.sparse,
    )
    variant.check()
    place = Place(options.ray_address, allotted_cores()) if on_ray(options) else None
    if variant.opset != OPSET:
        from export.portable import opsets

        opsets.check(variant.opset)
    artifacts = Artifacts(options.artifacts)
    entries = selected(options, options.models)
    codes, stale = [], []
    if modules := [entry for entry in entries if entry.is_module]:
        from export.module_command import export_entries

        codes.append(export_entries(modules, options))
        entries = [entry for entry in entries if not entry.is_module]
    for entry, standard in finished_runs(options, artifacts, entries) if entries else []:
        files = standard.of(variant)
        if is_current(files):
            codes.append(refresh_card(files))
        else:
            stale.append((entry, files))
    if stale:
        data = datasets.prepare([entry.dataset for entry, _ in stale], artifacts.data, options.data)
        codes += export_all(stale, data, variant, place)
    return max(codes)


def finished_runs(
    options: argparse.Namespace, artifacts: Artifacts, entries: Sequence[Entry]
) -> list[tuple[Entry, RunFiles]]:
    """The finished runs of these models, in that order and by seed.

    Raises:
        StudyError: as `study.finished.finished`.
    """
    trained = finished(artifacts, [entry.name for entry in entries], options, bool(options.models))
    return [(entry, files) for entry in entries if entry.name in trained for files in artifacts.runs(entry.name)]


def first_runs(
    options: argparse.Namespace, artifacts: Artifacts, entries: Sequence[Entry]
) -> list[tuple[Entry, RunFiles]]:
    """The first finished run of each of these models, as `finished_runs`."""
    first: dict[str, tuple[Entry, RunFiles]] = {}
    for entry, files in finished_runs(options, artifacts, entries):
        first.setdefault(entry.name, (entry, files))
    return list(first.values())


def refresh_card(files: RunFiles) -> int:
    """Write the card of a current export where it is missing or differs; gives an exit code."""
    try:
        outcome = f"wrote {files.card}" if write_card(files) else f"{files.onnx} is current: nothing to do"
    except StudyError as error:  # no card can be made of this run.json
        print_error(error)
        return REFUSED
    print(f"{files.model} seed {files.seed}: {outcome}")
    return DONE


def export_all(runs: Sequence[tuple[Entry, RunFiles]], data: Path, variant: Variant, place: Place | None) -> list[int]:
    """Export `runs` as `variant` with the images that lie below `data`, on Ray at `place`; an exit code for each."""
    from export.one_run import export_run
    from export.quantisation import calibration_images
    from study.data import tensors

    names = {entry.dataset for entry, _ in runs}
    tests = {name: tensors.load(data, train=False, dataset=name) for name in names}
    calibration = {name: calibration_images(data, name) for name in names if variant.int8 == "static"}
    if place:
        from export.ray_exports import export_on_ray

        return export_on_ray(runs, tests, calibration, place)
    codes = []
    for entry, files in runs:
        with locks.folder_held(files.folder):
            if is_current(files):  # another command has made it since it was found stale
                codes.append(refresh_card(files))
                continue
            outcome = export_run(entry, files, *tests[entry.dataset], calibration.get(entry.dataset))
        outcome.show()
        codes.append(outcome.code)
    return codes
