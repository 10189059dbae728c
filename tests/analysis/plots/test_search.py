"""Pictures of a search of hyper-parameters: what is drawn is read back from the axes."""

import numpy as np
import pytest

from analysis.plots import search as plots
from analysis.tables.search import importance, trials
from tests.support.records import search_record


def test_trials_are_drawn_where_they_ended_and_the_best_so_far_as_steps() -> None:
    (axis,) = plots.search(trials([search_record("baseline")])).axes
    drawn = {str(line.get_marker()): np.asarray(line.get_xydata()).tolist() for line in axis.lines}
    assert drawn["o"] == [[0, 12], [2, 9]]
    assert drawn["v"] == [[1, 50]]
    assert drawn["x"] == [[3, pytest.approx(axis.get_ylim()[1])]], "it has no error: at the upper edge"
    assert drawn["s"] == [[0, 12]], "the model's own recipe"
    assert drawn["None"] == [[0, 12], [1, 12], [2, 9], [3, 9]]


def test_bars_are_the_shares_with_the_largest_on_top() -> None:
    (axis,) = plots.importance(importance([search_record("baseline")])).axes
    assert [bar.get_width() for bar in axis.containers[0]] == [0.75, 0.25]
    assert axis.yaxis_inverted()


def test_too_few_trials_have_a_text_instead_of_bars() -> None:
    search = search_record("baseline", best=None, importance=None, trials=search_record("baseline").trials[3:])
    (text,) = plots.importance(importance([search])).texts
    assert text.get_text() == "too few trials for the importance of parameters"
    assert plots.search(trials([search])).axes
