"""`python -m export`: export the finished runs that have no current ONNX file, refresh the model cards of the others.

No torch until there is something to export.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from export.card import write_card
from study import locks
from study.artifacts import DEFAULT_ROOT, Artifacts, RunFiles, current_export
from study.catalogue import DEFAULT_STUDY
from study.data import datasets
from study.entry import Entry
from study.errors import StudyError, print_error
from study.files import sha256
from study.records.export import ExportRecord
from study.selection import selected
from study.variants import OPSET, Variant

DONE, NOT_PROVEN, REFUSED = 0, 1, 2
"""Exit codes; that of the command is the worst of all runs."""


def export_models(options: argparse.Namespace) -> int:
    """Export what the command line asks for, unless it is current; gives the exit code.

    Raises:
        StudyError: no run is finished, or an option is wrong. An error of one run is printed, and the others go on.
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
    finished = finished_runs(options, artifacts, entries) if entries else []
    for entry, standard in finished:
        files = standard.of(variant)
        if is_current(files):
            codes.append(refresh_card(files))
        else:
            stale.append((entry, files))
    if stale:
        data = datasets.prepare([entry.dataset for entry, _ in stale], artifacts.data, options.data)
        codes += export_all(stale, data, variant)
    return max(codes)


def finished_runs(
    options: argparse.Namespace, artifacts: Artifacts, entries: Sequence[Entry]
) -> list[tuple[Entry, RunFiles]]:
    """The finished runs of these models, in that order and by seed; one without any is reported.

    Raises:
        StudyError: there is none.
    """
    runs = [(entry, files) for entry in entries for files in artifacts.runs(entry.name)]
    if not runs:
        raise StudyError(f"no finished run in {artifacts.root}; run `{training(options, options.models)}` first")
    for entry in entries:
        if not artifacts.runs(entry.name):
            print(f"{entry.name}: no finished run; run `{training(options, [entry.name])}`", file=sys.stderr)
    return runs


def training(options: argparse.Namespace, names: Sequence[str]) -> str:
    """The command that trains the models called `names`, with the options of this one."""
    usual = {"study": DEFAULT_STUDY, "dataset": "", "catalogue": None, "data": None, "artifacts": DEFAULT_ROOT}
    given = {name: value for name, default in usual.items() if (value := getattr(options, name)) != default}
    words = [*names, *(word for name, value in given.items() for word in (f"--{name}", str(value)))]
    return shlex.join(["python", "-m", "train", *words])


def is_current(files: RunFiles) -> bool:
    """Whether the ONNX file was made from the checkpoint that is there now."""
    try:
        made_from = current_export(files).checkpoint_sha256
    except StudyError:
        return False
    return files.checkpoint.is_file() and sha256(files.checkpoint) == made_from


def refresh_card(files: RunFiles) -> int:
    """Write the card of a current export where it is missing or differs; gives an exit code."""
    try:
        outcome = f"wrote {files.card}" if write_card(files) else f"{files.onnx} is current: nothing to do"
    except StudyError as error:  # no card can be made of this run.json
        print_error(error)
        return REFUSED
    print(f"{files.model} seed {files.seed}: {outcome}")
    return DONE


def export_all(runs: Sequence[tuple[Entry, RunFiles]], data: Path, variant: Variant) -> list[int]:
    """Export `runs` as `variant` with the images that lie below `data`; an exit code for each."""
    from export.compact.removal import NothingError, describe
    from export.exporter import ParityError, export
    from export.quantisation import calibration_images
    from study.data import tensors
    from study.soundness import failure

    names = {entry.dataset for entry, _ in runs}
    tests = {name: tensors.load(data, train=False, dataset=name) for name in names}
    calibration = {name: calibration_images(data, name) for name in names if variant.int8 == "static"}
    codes = []
    for entry, files in runs:
        started = time.perf_counter()
        try:
            with locks.folder_held(files.folder) as waited:
                if waited and is_current(files):
                    codes.append(refresh_card(files))
                    continue
                record = export(entry, files, *tests[entry.dataset], calibration.get(entry.dataset))
            parity, outcome = record.parity, written(files, record)
            codes.append(DONE)
        except ParityError as error:
            parity, outcome = error.parity, f"FAILED: {error}; no file is written"
            codes.append(NOT_PROVEN)
        except NothingError as error:
            for old in (files.onnx, files.export, files.card):
                old.unlink(missing_ok=True)  # of another checkpoint: no command would make it current
            print(f"{files.model} seed {files.seed}: {error}; no file is written", flush=True)
            codes.append(DONE)
            continue
        except Exception as error:  # of any kind: one model must not cost the others
            reason = str(error) if isinstance(error, StudyError) else f"FAILED: {failure(error)}"
            print_error(StudyError(f"{files.model} seed {files.seed}: {reason.removeprefix(f'{files.model}: ')}"))
            codes.append(REFUSED)
            continue
        changes = [describe(record.removed)] if codes[-1] == DONE and record.removed else []
        if codes[-1] == DONE and variant.sparse and not record.sparse:
            changes.append("nothing to store sparsely: no weight has enough zeros")
        print(
            f"{files.model} seed {files.seed}: {''.join(f'{change}; ' for change in changes)}{parity.images} images, "
            f"largest difference {parity.max_abs_difference:.1e}, {parity.argmax_mismatches} differing predictions, "
            f"{outcome} ({time.perf_counter() - started:.1f} s)",
            flush=True,
        )
    return codes


def written(files: RunFiles, record: ExportRecord) -> str:
    """The outcome of a successful export in words."""
    outcome = f"wrote {files.onnx}"
    if files.variant.int8 and record.test_error_onnxruntime is not None:
        outcome = f"test error {100 * record.test_error_onnxruntime:.2f} %, {outcome}"
    if record.ir_version > 9:
        outcome += f", IR version {record.ir_version}, which its opset needs and ONNX Runtime 1.15 to 1.17 refuse"
    return outcome
