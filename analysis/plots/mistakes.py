"""The picture of mistakes.csv: test images that a model misclassifies and the others mostly do not."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from analysis.plots.latency import short, tuples
from study.pictures import WIDTH, empty

HEIGHT = 1.2
"""Inches of a model's row."""


def mistakes(frame: pd.DataFrame, images: NDArray[np.uint8] | None) -> Figure:
    """A row a model: each image with its class above what most of the model's runs take it for.

    `images` are those of the test part, uint8 [N, C, H, W]; None where they are not there.
    """
    if images is None or frame.empty:
        return empty("no image is misclassified" if frame.empty else "the test images are not there")
    models = list(dict.fromkeys(frame["model"]))
    columns = max(int(frame.groupby("model").size().max()), 6)
    figure = Figure(figsize=(WIDTH, HEIGHT * len(models)), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.06))
    axes = figure.subplots(len(models), columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for row, model in zip(axes, models, strict=True):
        row[0].set_title(short(model), loc="left", fontsize=8.5, fontweight="bold")
        for axis, one in zip(row, tuples(frame[frame["model"] == model]), strict=False):
            pixels = images[one.image].transpose(1, 2, 0)
            axis.imshow(pixels if pixels.shape[2] == 3 else 255 - pixels[:, :, 0], cmap="gray", vmin=0, vmax=255)
            words = f"{one.label_name}\n\N{RIGHTWARDS ARROW} {one.predicted_name}"
            axis.text(0.5, -0.05, words, transform=axis.transAxes, ha="center", va="top", fontsize=6.5)
    return figure
