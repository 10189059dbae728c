"""Best against best in records: where the pilot's choice was not the fastest, and where sessions chose differently."""

from typing import Any

import pytest

from study.families import changed_pairs, outrun
from study.records.bench import CaseRecord, ComparisonRecord
from tests.bench.builders import bench, case, paired
from tests.support.records import best_of


def best(reference: str, *others: str) -> ComparisonRecord:
    chosen = best_of({reference: 8e-5} | dict.fromkeys(others, 9e-5), {"onnxruntime": 2e-5})
    return paired(4.0, reference=reference, best_of=chosen)


def torch(name: str, median: float, **changes: Any) -> CaseRecord:
    return case(median, 0.01, runtime=name, **changes)


@pytest.mark.parametrize(
    ("seconds", "changes", "found"),
    [
        (80e-6, {}, [("torch-compile", "torch-aoti")]),
        (99e-6, {}, []),  # the intervals overlap
        (120e-6, {}, []),
        (80e-6, {"valid": False, "reasons": ("noisy",)}, []),
        (80e-6, {"batch": 32}, []),
    ],
)
def test_a_candidate_that_is_shown_to_be_faster_than_the_chosen_one_is_named(
    seconds: float, changes: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    cases = (torch("torch-compile", 100e-6), torch("torch-aoti", seconds, **changes), torch("torch", 70e-6), case())
    record = bench(*cases, comparisons=(best("torch-compile", "torch-aoti"), paired(7.0)))
    assert [(chosen, faster) for _, chosen, faster in outrun(record)] == found, "torch is no candidate"


def test_sessions_that_choose_different_pairs_are_counted_by_pair() -> None:
    sessions = [(best(name), paired(7.0)) for name in ("torch-aoti", "torch-compile", "torch-aoti")]
    ((key, pairs),) = changed_pairs(sessions).items()
    assert (key.model, key.runtime, key.batch) == ("gap", "best of torch/onnxruntime", 1)
    assert pairs == {"torch-aoti/onnxruntime": 2, "torch-compile/onnxruntime": 1}
    assert changed_pairs([(best("torch-aoti"),), (paired(7.0),)]) == {}
