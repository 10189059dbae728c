"""Export any torch module to ONNX, and prove that both compute the same."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.module_card import write_card
from export.module_graph import from_torch
from export.module_proof import Proven, in_words, located, proven, set_aside
from export.module_reference import INPUT_SEED, Reference, Subject, Weights, in_torch, subject_of
from study.entry import Entry
from study.environment import environment
from study.errors import StudyError
from study.files import sha256
from study.modules.building import SEED
from study.modules.files import ModuleFiles
from study.modules.finding import import_folder, packages, sources
from study.modules.outputs import unique_names
from study.onnx_inputs import BATCH
from study.record_files import write_record
from study.records.module import ModuleRecord

SHOWN = 3
"""Names of random weights that a note shows."""


def export_module(entry: Entry, files: ModuleFiles) -> ModuleRecord:
    """Write the ONNX file of a module, its record and its card; nothing is written unless the proof holds.

    The outputs of torch are computed first, and the module is given up before another engine loads the weights.

    Raises:
        StudyError: the module cannot be built, called or exported, or its inputs are not as described.
        ModuleParityError: ONNX Runtime computes something else.
    """
    subject = subject_of(entry)
    built = subject.build()
    weights = Weights.of(subject, built.network)
    reference = in_torch(subject, built)
    by_position = built.by_position
    files_of_it = sources(subject.factory)
    packages_of_it = packages(subject.factory, {type(one).__module__ for one in built.network.modules()})
    names = unique_names(reference.names, [one.name for one in subject.inputs])
    batch_is_free = len(reference.expected) > 1
    with _new_folder(files) as place:
        exported = [from_torch(entry.name, built, subject.inputs, subject.sizes, names, batch_is_free)]
        del built  # the graph alone has the weights now
        try:
            proof = proven(subject, reference, weights, exported, place)
        except StudyError as error:
            failed = set_aside(place, error)
            if not batch_is_free:
                raise located(error, subject, reference, names, failed) from None
            try:  # the graph may be right for the batch of its example alone
                again = subject.build()
                exported = [from_torch(entry.name, again, subject.inputs, subject.sizes, names, batch_is_free=False)]
                del again
                proof = proven(subject, reference, weights, exported, place)
            except StudyError:
                raise located(error, subject, reference, names, failed) from None
        onnx, data = place / files.onnx.name, place / files.data.name
        record = ModuleRecord(
            name=entry.name,
            factory=subject.factory,
            import_folder=import_folder(subject.factory),
            arguments=entry.arguments,
            inputs=tuple(map(str, subject.inputs)),
            sizes=subject.sizes,
            fixed=proof.fixed,
            by_position=by_position,
            weights=str(subject.weights) if subject.weights else None,
            weights_sha256=sha256(subject.weights) if subject.weights else None,
            seed=None if subject.weights else SEED,
            random=weights.random,
            sources=files_of_it,
            packages=packages_of_it,
            tolerance=entry.tolerance,
            parameters=weights.parameters,
            weight_bytes=weights.bytes,
            onnx_sha256=sha256(onnx),
            data_sha256=proof.beside.sha256 if proof.beside else None,
            bytes=onnx.stat().st_size + (proof.beside.bytes if proof.beside else 0),
            portable=proof.portable,
            opset=proof.opset,
            ir_version=proof.ir_version,
            batches=tuple(reference.expected)[: 1 if BATCH in proof.fixed else None],
            input_seed=INPUT_SEED,
            parity=proof.parity,
            notes=tuple(_notes(subject, weights, reference, proof)),
            environment=environment(),
        )
        if proof.beside:
            data.replace(files.data)
        onnx.replace(files.onnx)
    if not proof.beside:
        files.data.unlink(missing_ok=True)
    write_record(files.record, record)
    write_card(files, record)
    return record


def _notes(subject: Subject, weights: Weights, reference: Reference, proof: Proven) -> Iterator[str]:
    """What a reader must know first."""
    random = weights.random
    if random:
        more = f" and {len(random) - SHOWN} more" if len(random) > SHOWN else ""
        yield f"random weights, of torch.manual_seed({SEED}): {', '.join(random[:SHOWN])}{more}"
    if weights.imported:
        yield f"weights of the module that {Path(subject.factory).name} has made when it was imported: random or not"
    yield from reference.notes
    yield from proof.notes
    if proof.fixed:
        yield (
            f"the file is fixed at {in_words(proof.fixed)}: torch's exporter does not keep that free, or the file "
            "would compute something else"
        )
    if subject.sizes and reference.elsewhere is None and proof.fixed.keys().isdisjoint(subject.sizes):
        yield f"proven at {in_words(subject.sizes)} alone: the module does not run at {in_words(subject.other_sizes)}"


@contextmanager
def _new_folder(files: ModuleFiles) -> Iterator[Path]:
    """A folder beside the files, from which they are moved in place: an interrupted export leaves the old ones."""
    files.folder.mkdir(parents=True, exist_ok=True)
    for left in files.folder.glob(".export-*"):  # of commands that were killed: this one holds the folder's lock
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=files.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
