"""A study of more models and cases than a reader can take in: what is shown of it, and what is said of the rest."""

from functools import partial

import pandas as pd
import pytest

from analysis.plots.beside import of_first_models
from analysis.plots.training import convergence
from analysis.tables import headline
from analysis.tables.columns import read
from study.artifacts import Artifacts
from tests.scale.measurements import write_measurements
from tests.scale.trainings import Size, write_runs
from tests.support.study import analyse


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """13 models, 364 cases."""
    made = Artifacts(tmp_path_factory.mktemp("large"))
    names = write_runs(made, Size(models=13, seeds=1, epochs=2, layers=[(4, 6)]))
    write_measurements(made, names, seeds=1, cases=364, samples=20)
    analyse(made.root, "--models", ",".join(names))
    return made


def test_the_page_says_how_many_rows_are_in_the_csv_file_alone(large: Artifacts) -> None:
    page = (large.report / "index.html").read_text()
    assert "64 more rows are in <code>latency.csv</code>" in page
    assert page.count("more rows are in") == 1, "no other table is as long"
    assert len(read(large.report / "latency.csv")) == 364


def test_a_picture_has_the_first_twelve_models_and_says_so() -> None:
    rows = pd.DataFrame(
        [{"model": f"m{n}", "seed": 0, "epoch": 1, "train_error": 0.1, "validation_error": None} for n in range(13)]
    )
    tested = rows.assign(test_error=0.1)
    draw = of_first_models(partial(convergence, errors=tested), ["m12", "m0"])
    figure = draw(rows)
    assert [axis.get_title("left") for axis in figure.axes] == [f"m{n}" for n in (*range(11), 12)]
    assert figure.legends[0].get_title().get_text() == "the first 12 of 13 models; the table has all"
    assert draw(rows[:12]).legends[0].get_title().get_text() == ""


def test_headline_rows_are_the_same_whether_or_not_another_model_has_repeats(large: Artifacts) -> None:
    frame = read(large.report / "latency.csv")
    again = frame[frame["model"] == "model012"].assign(file="again.json")
    alone = headline.cases(frame)
    beside = headline.cases(pd.concat([frame, again]))
    first, second = (rows[rows["model"] != "model012"].reset_index(drop=True) for rows in (alone, beside))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
