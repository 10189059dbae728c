"""Load trained networks from their checkpoints."""

import pickle

import torch
from torch import nn

from study.artifacts import RunFiles
from study.entry import Entry
from study.errors import StudyError, one_line
from study.networks import build
from study.verified import remedy_for, verified_checkpoint


def load(entry: Entry, files: RunFiles) -> nn.Module:
    """The trained network of one run, in evaluation mode. Only tensors are read from the file, never code.

    Raises:
        StudyError: the run is not finished, or the file is not the one its run.json describes.
    """
    checkpoint, remedy = verified_checkpoint(files), remedy_for(files)
    network = build(entry)
    try:
        network.load_state_dict(torch.load(checkpoint, weights_only=True))
    except (RuntimeError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise StudyError(
            f"{files.checkpoint} does not hold the weights of {entry.network} ({one_line(error)}); {remedy}"
        ) from None
    return network.eval()
