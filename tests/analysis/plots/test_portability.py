"""The picture of what runs where."""

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis.inputs.portability import Portability, Square
from analysis.plots import portability as portability_plots
from analysis.tables.portability import cells, squares
from study.artifacts import Artifacts
from tests.support.portability import write_portability


@pytest.fixture
def found(artifacts: Artifacts) -> Portability:
    return write_portability(artifacts)


def of(verdict: str, **changes: Any) -> Square:
    return replace(Square(verdict, 3.1e-2, "12 classes differ", True), **changes)


class TestPicture:
    def drawn(self, found: dict[tuple[str, str], Square]) -> Figure:
        return portability_plots.matrix(found, most_columns=8)

    def texts(self, figure: Figure) -> list[str]:
        return [text.get_text() for text in figure.axes[0].texts]

    def test_every_square_says_in_words_what_it_is(self, found: Portability) -> None:
        axis = (figure := self.drawn(squares(cells(found)))).axes[0]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["Ort 1.2", "Tract 1.2", "Web <b>"]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["baseline", "gap"]
        assert self.texts(figure) == [
            *("✓ 7.0e-07", "✓ 7.0e-07", "not run"),
            *("✓ 7.0e-07", "✗ FAILED\n3.1e-02", "not run"),
        ]
        assert len(figure.legends[0].get_texts()) == 3

    def test_in_grey_they_are_light_dark_and_hatched(self) -> None:
        figure = self.drawn({("a", "m"): of("passed"), ("b", "m"): of("failed"), ("c", "m"): of("not run")})
        passed, failed, absent = figure.axes[0].patches
        grey = [
            sum(part * weight for part, weight in zip(to_rgb(p.get_facecolor()), (0.3, 0.59, 0.11), strict=True))
            for p in (passed, failed, absent)
        ]
        assert grey[0] > 0.8 > 0.4 > grey[1]
        assert [bool(p.get_hatch()) for p in (passed, failed, absent)] == [False, False, True]

    def test_what_is_stale_is_hollow_and_says_so(self) -> None:
        figure = self.drawn({("a", "m"): of("passed", current=False), ("a", "n"): of("failed", current=False)})
        assert self.texts(figure) == ["✓ 3.1e-02 stale", "✗ FAILED\n3.1e-02\nstale"]
        assert {to_rgb(patch.get_facecolor()) for patch in figure.axes[0].patches} == {(1.0, 1.0, 1.0)}
        assert "stale: of an older ONNX file" in [text.get_text() for text in figure.legends[0].get_texts()]

    def test_with_many_models_the_runtimes_are_the_columns(self) -> None:
        many = {(runtime, f"m{n}"): of("passed", difference=n * 1e-7) for runtime in "ab" for n in range(9)}
        axis = (figure := self.drawn(many)).axes[0]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
        assert self.texts(figure)[:2] == ["✓ 0.0e+00", "✓ 1.0e-07"]

    def test_a_long_label_takes_two_lines(self) -> None:
        figure = self.drawn({("a runtime of a name that takes more than two lines", "$\\frac$"): of("passed")})
        (label,) = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert label == "a runtime of a name\nthat takes more than…"
        (head,) = figure.axes[0].get_xticklabels()
        assert head.get_text() == "$\\frac$"
