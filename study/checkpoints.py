"""Load trained networks from their checkpoints."""

import pickle

import torch
from torch import nn

from study.artifacts import RunFiles, read_record, sha256
from study.entry import Entry
from study.errors import StudyError, one_line
from study.networks import build
from study.records.training import RunRecord


def load(entry: Entry, files: RunFiles) -> nn.Module:
    """The trained network of one run, in evaluation mode. Only tensors are read from the file, never code.

    Raises:
        StudyError: the run is not finished, or the file is not the one its run.json describes.
    """
    remedy = f"run `python -m train {entry.name} --seeds {files.seed} --fresh`"
    record = read_record(files.record, RunRecord, remedy)
    if not files.checkpoint.is_file():
        raise StudyError(f"{files.checkpoint} is missing; {remedy}")
    actual = sha256(files.checkpoint)
    if actual != record.checkpoint_sha256:
        raise StudyError(
            f"{files.checkpoint}: expected sha256 {record.checkpoint_sha256[:16]}... as in run.json, "
            f"found {actual[:16]}...; {remedy}"
        )
    network = build(entry)
    try:
        network.load_state_dict(torch.load(files.checkpoint, weights_only=True))
    except (RuntimeError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise StudyError(
            f"{files.checkpoint} does not hold the weights of {entry.network} ({one_line(error)}); {remedy}"
        ) from None
    return network.eval()
