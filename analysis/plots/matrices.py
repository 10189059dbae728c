"""The pictures of filters.csv and matrices.csv: weights as images."""

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from analysis.plots.latency import short
from study.pictures import COLOURS, WIDTH, empty, legend_above, tail

ZERO = COLOURS[1]
"""Colour of cells whose weights are all exactly zero."""


def filters(frame: pd.DataFrame) -> Figure:
    """A row a model: the filters of its first convolution, negative weights orange, positive ones purple."""
    if frame.empty:
        return empty("no model has a convolution")
    models = list(dict.fromkeys(frame["model"]))
    columns = max(8, int(frame["filter"].max()) + 1)
    figure = Figure(figsize=(WIDTH, 0.35 + 0.8 * len(models)), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))
    axes = figure.subplots(len(models), columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for row, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model]
        reach = own["value"].abs().max() or 1.0
        row[0].set_title(short(str(model)), loc="left", fontsize=8.5, fontweight="bold")
        for n, one in own.groupby("filter"):
            image = one.pivot_table(index="row", columns="column", values="value").to_numpy()
            row[int(str(n))].imshow(image, cmap="PuOr", vmin=-reach, vmax=reach)
    return figure


def matrices(frame: pd.DataFrame) -> Figure:
    """A row a model, a column a layer: the darker a cell, the larger its weights; those that are all zero in colour."""
    if frame.empty:
        return empty("no model has a fully-connected layer of known weights")
    models, layers = (list(dict.fromkeys(frame[name].astype(str))) for name in ("model", "layer"))
    columns = max(len(set(own["layer"])) for _, own in frame.groupby("model"))
    shared = columns == len(layers)  # models alike: a column is a layer, on a scale of its own
    figure = Figure(figsize=(WIDTH, 0.9 + 1.5 * len(models)), layout="constrained")
    axes = figure.subplots(len(models), columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for row, model in zip(axes, models, strict=True):
        own = frame[frame["model"] == model]
        for k, (layer, cells) in enumerate(own.groupby("layer", sort=False)):
            axis = row[layers.index(str(layer)) if shared else k]
            same = frame[frame["layer"] == layer] if shared else cells
            largest = same["rms"].max()
            grid = cells.pivot_table(index="out", columns="in", values=["rms", "exact_zeros"], dropna=False)
            grey = 1 - np.clip(np.nan_to_num(grid["rms"].to_numpy() / (largest or 1.0)), 0, 1) ** 0.5
            image = np.repeat(grey[:, :, None], 3, axis=2)
            image[grid["exact_zeros"].to_numpy() == 1] = to_rgb(ZERO)
            axis.imshow(image, aspect="auto", interpolation="nearest")
            axis.set_title(f"{short(model)}, {tail(str(layer), 20)}", loc="left", fontsize=8.5)
    grey = Patch(facecolor="0.3", edgecolor="black", label="the darker, the larger the weights")
    legend_above(figure, [grey, Patch(facecolor=ZERO, edgecolor="black", label="all weights of the cell exactly 0")])
    return figure
