"""Pictures that can be read: the ticks of a logarithmic axis, and names of any characters."""

import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from study import pictures
from study.pictures import legend_above, log_scale, name_rows


@pytest.mark.parametrize("high", [1.1, 3, 20, 200, 3e3, 1e5, 1e8])
def test_a_logarithmic_axis_has_three_to_twelve_ticks_whatever_it_spans(high: float) -> None:
    axes = Figure().add_subplot()
    log_scale(axes, axes.xaxis, 1, high, room=0.03)
    low, most = axes.get_xlim()
    assert 3 <= sum(low <= tick <= most for tick in axes.get_xticks()) <= 12


@pytest.mark.usefixtures("drawing")
def test_a_name_with_dollars_is_drawn_as_it_is_everywhere() -> None:
    name = "$x^{ $\\frac$"

    def draw() -> Figure:
        figure = Figure()
        axes = figure.add_subplot()
        axes.set_title(name)
        axes.set(xlabel=name)
        axes.text(0.5, 0.5, name)
        axes.annotate(name, (0, 0))
        name_rows(axes, [name], [(0, name)])
        legend_above(figure, [Line2D([], [], label=name)])
        return figure

    assert pictures.drawn(draw)[".svg"].count(b"<!-- $x^{ $") == 7
