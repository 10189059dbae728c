"""The load scenarios in the report: a row each, in items a second and seconds."""

import pytest

from study.artifacts import Artifacts
from tests.support.records import offline_load, server_load
from tests.support.study import analyse, rows, write_bench


def test_each_load_has_a_row_and_a_file_without_any_removes_the_table(artifacts: Artifacts) -> None:
    one, two = (offline_load(artifacts, "baseline", 90_000, streams) for streams in (1, 2))
    write_bench(artifacts, loads=[one, two, server_load(artifacts, "baseline", 25_000, 0.008)])
    analyse(artifacts.root)
    first, second, third = rows(artifacts.root, "loads.csv")
    assert [(row["scenario"], row["streams"]) for row in (first, second, third)] == [
        *(("offline", "1"), ("offline", "2"), ("server", "1"))
    ]
    assert float(first["items_per_second_high"]) == pytest.approx(90_000 * 1.03)
    assert float(third["items_per_second"]) == 2 * 25_000, "a query has two items"
    assert [third[name] for name in ("bound_seconds", "p99_seconds", "p90_seconds")] == ["0.01", "0.008", ""]
    write_bench(artifacts)
    analyse(artifacts.root)
    assert not list(artifacts.root.glob("report*/loads.csv"))
