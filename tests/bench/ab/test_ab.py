"""The verdict of `bench ab` on made-up pairs of processes, its gate and its report."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from scipy import stats

from bench.ab.pair import Once
from bench.ab.protocol import Greeting
from bench.ab.report import code, contrast, paragraphs, verdicts
from bench.ab.session import Plan, Session
from bench.ab.sides import Side
from bench.models import from_file
from study.onnx_given import Given
from study.record_files import as_json
from study.records.ab import AbRecord, Outputs, PairedProcess
from study.records.base import Parity
from tests.bench.test_onnx_files import LINEAR, save
from tests.support import records
from tests.support.ab import process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "m.onnx", LINEAR)


@pytest.fixture
def compared(file: Path) -> Callable[..., AbRecord]:
    """The record of a session in which these pairs of processes were measured, by batch."""

    def make(*batches: Sequence[PairedProcess | float], margin: float = 0.02) -> AbRecord:
        own = from_file(file, Given())
        sides = Side("A", "m.onnx", own, 1), Side("B", "m.onnx,threads=1", own, 1)
        session = Session(Plan(sides, range(1, len(batches) + 1), 5, 1.0, margin, 0), lambda line: None)
        session.greetings = [Greeting(python="3.11.7", packages={"onnxruntime": v}) for v in ("1", "2")]
        for batch, values in enumerate(batches, 1):
            made = [one if isinstance(one, PairedProcess) else process(n, one) for n, one in enumerate(values, 1)]
            session.measured[batch] = [Once(one, ({"threads": 1}, {"threads": 1}), (None, None)) for one in made]
            parity = Parity(images=8, max_abs_difference=0.0, argmax_mismatches=0, against="A")
            session.outputs[batch] = Outputs(parity=parity, differences=())
        record = session.record()
        assert record
        as_json(record)  # every value is what its field allows
        return record

    return make


SLOWER = [1.10, 1.101, 1.099, 1.102, 1.098]
SAME = [1.001, 0.999, 1.002, 0.998, 1.0]
UNKNOWN = [0.95, 1.05, 1.1, 0.9, 1.0]


@pytest.mark.parametrize(
    ("ratios", "verdict", "exit_code"),
    [
        (SLOWER, "slower", 1),
        ([1 / ratio for ratio in SLOWER], "faster", 0),
        (SAME, "the same", 0),
        (UNKNOWN, "undecided", 3),
        ([1.012, 1.013, 1.011, 1.012, 1.012], "slower", 0),  # shown slower, by less than the gate's 3 %
    ],
)
def test_the_verdict_is_on_b_and_the_gate_is_at_its_limit(
    compared: Callable[..., AbRecord], ratios: Sequence[float], verdict: str, exit_code: int
) -> None:
    record = compared(ratios)
    (one,) = record.comparisons
    assert (one.verdict, one.valid) == (verdict, True)
    assert (code(record, 0.03), code(record, None)) == (exit_code, 0)
    low, high = np.exp(stats.t.interval(0.95, 4, np.mean(np.log(ratios)), stats.sem(np.log(ratios))))
    assert (one.ratio.low, one.ratio.high) == pytest.approx((low, high))


def test_the_gate_tests_one_sample_of_log_ratios(compared: Callable[..., AbRecord]) -> None:
    ratios = [1.02, 1.05, 1.04, 1.06, 1.03]
    own = contrast(compared(ratios).comparisons[0])
    above = stats.ttest_1samp(np.log(ratios), np.log(1.03), alternative="greater")
    assert own.p_above(np.log(1.03)) == pytest.approx(above.pvalue)


def test_the_gate_passes_only_if_every_batch_size_is_shown(compared: Callable[..., AbRecord]) -> None:
    assert verdicts(compared(SAME, UNKNOWN), 0.03) == ["within the limit", "undecided"]
    assert [code(compared(SAME, other), 0.03) for other in (SAME, UNKNOWN, SLOWER)] == [0, 3, 1]


DISTURBED = {"valid": False, "reasons": ("other processes used 40% of this one's cores: stop them",)}


def test_a_disturbed_pair_does_not_count_where_enough_others_do(compared: Callable[..., AbRecord]) -> None:
    record = compared([*SAME, process(6, 3.0, **DISTURBED)])
    assert record.comparisons[0].verdict == "the same"
    assert code(record, 0.03) == 0


def test_too_few_undisturbed_pairs_withhold_the_verdict_and_the_gate_cannot_decide(
    compared: Callable[..., AbRecord],
) -> None:
    other = {"valid": False, "reasons": ("other processes used 7% of this one's cores: stop them",)}
    record = compared([*SLOWER[:3], process(4, 1.1, **DISTURBED), process(5, 1.1, **other)])
    (one,) = record.comparisons
    assert (one.verdict, one.valid, code(record, 0.03)) == ("withheld", False, 3)
    assert one.reasons == (
        "3 undisturbed pairs of processes, expected at least 5",
        "pairs 4, 5: other processes used 40% of this one's cores: stop them",
    )


def test_a_pair_on_a_slower_machine_does_not_count(compared: Callable[..., AbRecord]) -> None:
    slow = replace(records.CALIBRATION, arithmetic_seconds=1.5 * records.CALIBRATION.arithmetic_seconds)
    (one,) = compared([*SAME, process(6, 3.0, calibration=slow)]).comparisons
    assert (one.verdict, [each.valid for each in one.processes]) == ("the same", [True] * 5 + [False])
    assert "arithmetic took 50%" in one.processes[5].reasons[0]


def test_a_side_that_differs_from_itself_withholds_the_verdict(compared: Callable[..., AbRecord]) -> None:
    made = [process(n, ratio) for n, ratio in enumerate(SAME, 1)]
    made = [replace(one, b=replace(one.b, control=1.05 + 1e-4 * one.process)) for one in made]
    assert compared(made).comparisons[0].reasons == ("B against itself is 1.050, not 1: measure again",)


def test_the_report_names_both_sides_and_what_the_interval_does_not_cover(compared: Callable[..., AbRecord]) -> None:
    record = compared(SLOWER)
    same = Side("A", "m.onnx", None, 1)  # type: ignore[arg-type]  # only where it runs is asked
    shown = re.sub(" +", " ", "\n".join(paragraphs(record, (same, same), 0.03, markdown=True)))
    assert "- A: m.onnx: onnxruntime 1, 1 thread" in shown
    assert "| batch 1 | 1.000 ms | 1.000 ms | 1.1000 | 1.0980 to 1.1020 | B is slower |" in shown
    assert "batch 1: the outputs agree (largest difference 0.0e+00, 0 of 8 items have another largest value)" in shown
    assert "5 pairs of fresh processes on this machine, today" in shown
    assert "gate at 3.0%: batch 1 slower: exit code 1" in shown
