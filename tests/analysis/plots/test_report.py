"""The pictures of a report come from the tables beside them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.inputs.files import PICTURES
from analysis.tables.columns import read
from study import pictures
from tests.support.study import analyse


def test_each_picture_is_drawn_from_the_csv_file_of_its_name(
    reported: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[pd.DataFrame] = []
    drawn: list[bool] = []

    def record(draw: partial[Figure], suffixes: Sequence[str], small: bool) -> dict[str, bytes]:
        frames.append(draw.args[0])
        drawn.append(bool(draw().axes))
        return dict.fromkeys(suffixes, b"")

    monkeypatch.setattr(pictures, "drawn", record)
    analyse(reported[0], "--fresh")
    without = [name for name, there in zip(PICTURES, drawn, strict=True) if not there]
    assert without == ["mistakes"], "its images are not there; the other tables have what is drawn"
    for name, frame in zip(PICTURES, frames, strict=True):
        pd.testing.assert_frame_equal(frame, read(reported[0] / "report" / f"{name}.csv"))
