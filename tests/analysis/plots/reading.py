"""Read numbers and texts back from the axes of a figure."""

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts if text.get_text()]


def rows(axis: Axes) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def beside(axis: Axes) -> list[str]:
    """The texts to the right of a panel, from the top."""
    (right,) = axis.child_axes
    return [label.get_text() for label in right.get_yticklabels()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def bars(axis: Axes) -> list[Any]:
    """The middle of each horizontal bar, and its length."""
    return [(it.get_y() + it.get_height() / 2, it.get_width()) for it in axis.patches if isinstance(it, Rectangle)]


def xy(line: Line2D) -> Any:
    """The points of a line, [N, 2], without rounding errors."""
    return np.round(np.asarray(line.get_xydata()), 6)


def points(axis: Axes) -> list[Any]:
    """x, y and the colour of the face of every point that no line joins with others."""
    apart = [line for line in axis.lines if line.get_linestyle() == "None" or len(np.asarray(line.get_xydata())) == 1]
    markers = [line for line in apart if line.get_marker() not in ("None", "|", "_")]
    places = [(np.asarray(line.get_xydata()), to_hex(line.get_markerfacecolor()).upper()) for line in markers]
    return [(*map(float, xy), face) for place, face in places for xy in place]


def curves(axis: Axes) -> list[Line2D]:
    """The lines that join points, without those of a grid of ticks or an axis."""
    return [line for line in axis.lines if line.get_linestyle() != "None" and len(np.asarray(line.get_xydata())) > 1]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """The pairs of texts of a panel that cover one another once they are drawn."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    result = []
    for axis in figure.axes:
        shown = [it for it in [*axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()] if it.get_text()]
        boxes = [(it.get_text(), it.get_window_extent(canvas.get_renderer())) for it in shown]
        result += [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.shrunk(0.9, 0.9).overlaps(b)]
    return result
