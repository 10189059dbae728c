"""Pictures that can be read: the ticks of a logarithmic axis."""

import pytest
from matplotlib.figure import Figure

from study.pictures import log_scale


@pytest.mark.parametrize("high", [1.1, 3, 20, 200, 3e3, 1e5, 1e8])
def test_a_logarithmic_axis_has_three_to_twelve_ticks_whatever_it_spans(high: float) -> None:
    axes = Figure().add_subplot()
    log_scale(axes, axes.xaxis, 1, high, room=0.03)
    low, most = axes.get_xlim()
    assert 3 <= sum(low <= tick <= most for tick in axes.get_xticks()) <= 12
