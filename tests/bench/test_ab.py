"""Two sides that take turns: what a side means, the order and the ratio, the verdict and the gate. No processes."""

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy import stats

from bench.ab.alternate import Alternation, alternate, order, probe, warmed_up
from bench.ab.arrays import load_inputs, load_outputs, save_inputs, save_outputs
from bench.ab.pair import Once, take_turns
from bench.ab.report import code, contrast, lines, verdicts
from bench.ab.session import Plan, Session
from bench.ab.sides import Side, side, words_of
from bench.estimates import over_processes
from bench.models import from_file
from study.artifacts import as_json
from study.errors import StudyError
from study.onnx_given import Given
from study.records.ab import AbRecord, Outputs, PairedProcess
from study.records.base import Parity
from tests.bench.test_onnx_files import LINEAR, save
from tests.support import records
from tests.support.ab import process

# ---- what a side means


@pytest.mark.parametrize(
    ("word", "model", "settings"),
    [
        ("baseline", "baseline", {}),
        ("m.onnx,threads=2", "m.onnx", {"threads": ["2"]}),
        ("my,model.onnx,variant=a,b", "my,model.onnx", {"variant": ["a,b"]}),
        ("m.onnx,python=/a,b/python,threads=1", "m.onnx", {"python": ["/a,b/python"], "threads": ["1"]}),
        ("m.onnx,options=a.b:1,options=c.d:0", "m.onnx", {"options": ["a.b:1", "c.d:0"]}),
        ("m.onnx,thread=2", "m.onnx,thread=2", {}),  # no setting, so the file is missing
    ],
)
def test_only_the_comma_before_a_setting_separates(word: str, model: str, settings: dict[str, list[str]]) -> None:
    assert words_of(word) == (model, settings)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "m.onnx", LINEAR)


COMMON = Namespace(threads=1, mode="native", device="cpu", catalogue=None, artifacts=Path("nowhere"))


def test_a_side_has_the_settings_of_its_word_and_else_those_of_the_command(file: Path) -> None:
    own = side("B", f"{file},options=session.x:1:2,options=y:z,runtime=tract", COMMON, Given())
    assert (own.model.onnx, own.runtime, own.threads) == (file, "tract", 1)
    assert own.options == {"session.x:1": "2", "y": "z"}
    assert own.request["options"] == own.options


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("{file},threads=0", r"^B \(.*threads=0\): expected 1 to \d+ threads, found 0$"),
        ("{file},threads=2,threads=1", "expected threads once"),
        ("{file},options=x", "options: expected NAME:VALUE, found 'x'"),
        ("{file},variant=int8", "variant applies to a model of the catalogue"),
        ("{file},python=/nowhere/python", "python=/nowhere/python: expected an interpreter"),
        ("{file},checkout=/", "checkout=/: expected a checkout of this project"),
        ("{file},runtime=torch", "torch runs the standard variant of the catalogue's models alone"),
        ("{file},thread=2", "found '.*m.onnx,thread=2'; settings are variant, threads, runtime, options, python"),
        ("gap", "gap has no finished run in nowhere"),
        ("", "expected MODEL,NAME=VALUE, found ''"),
    ],
)
def test_a_mistake_in_a_side_is_one_line(file: Path, word: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        side("B", word.format(file=file), COMMON, Given())


# ---- arrays on their way to the other process and back


def test_inputs_and_outputs_of_all_kinds_arrive_unchanged(tmp_path: Path) -> None:
    pool: list[dict[str, NDArray[Any]]] = [
        {"x": np.full((2, 3), i, np.float32), "file": np.array([i], np.int64)} for i in range(3)
    ]
    save_inputs(tmp_path / "in.npz", pool)
    loaded = load_inputs(tmp_path / "in.npz")
    assert [{k: v.tolist() for k, v in one.items()} for one in loaded] == [
        {k: v.tolist() for k, v in one.items()} for one in pool
    ]
    assert all(array.flags.c_contiguous and array.flags.owndata for one in loaded for array in one.values())
    calls = [[np.ones(2), None, [np.zeros(1), {3: np.float32(0.5)}], np.array(["a", "bc"], object)]]
    (found,) = load_outputs(tmp_path / "out.npz", save_outputs(tmp_path / "out.npz", calls))
    assert found[0].tolist() == [1, 1]
    assert found[1] is None
    assert (found[2][0].tolist(), found[2][1]) == ([0], {3: 0.5})
    assert found[3].tolist() == ["a", "bc"]


# ---- turns


class Clock:
    """A machine with a clock of its own, on which fake sides take turns; `pace` is its slowness at a time."""

    def __init__(self, pace: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now, self.pace = 0.0, pace
        self.running: Fake | None = None
        self.log: list[Fake] = []

    def clock(self) -> float:
        return self.now


class Fake:
    """A side whose calls take `seconds`; those after a switch more, by `effects`."""

    def __init__(self, machine: Clock, seconds: float, effects: Sequence[float] = ()) -> None:
        self.machine, self.seconds, self.effects = machine, seconds, effects
        self.memory = 1e-4
        """Seconds of its calibration by memory."""

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        machine = self.machine
        if do == "calibrate":
            pace = machine.pace(machine.now)
            return {"arithmetic_seconds": 1e-4 * pace, "memory_seconds": self.memory * pace}
        switched, machine.running = machine.running is not self, self
        machine.log.append(self)
        durations = []
        for i in range(words["lead_in"] + words["calls"]):
            effect = self.effects[i] if switched and i < len(self.effects) else 0.0
            durations.append(self.seconds * (1 + effect) * machine.pace(machine.now))
            machine.now += durations[-1]
        seconds = float(np.median(durations[words["lead_in"] :]))
        usage = {"wall": sum(durations), "cpu": sum(durations), "switches": 0, "idle_wall": 1.0, "idle_cpu": 0.0}
        return {"seconds": seconds, "durations": durations, **usage}


def taken_turns(a: Fake, b: Fake, seconds: float = 2.0, seed: int = 0) -> Alternation:
    chance, into = np.random.default_rng(seed), Alternation()
    speeds = [warmed_up(each, 1.0) for each in (a, b)]
    probe((a, b), speeds, 0.5, chance, into)
    for _ in range(3):
        alternate((a, b), seconds / 3, chance, into, a.machine.clock)
    return into


@pytest.mark.parametrize("planted", [1.0, 1.1, 0.9])
def test_the_ratio_is_that_of_the_sides_and_each_against_itself_is_1(planted: float) -> None:
    machine = Clock()
    result = taken_turns(Fake(machine, 1e-3), Fake(machine, planted * 1e-3)).result()
    assert result.ratio == pytest.approx(planted)
    assert result.controls == pytest.approx((1, 1))
    assert result.seconds == pytest.approx((1e-3, planted * 1e-3))
    assert result.reason is None


def test_slower_calls_after_a_switch_do_not_reach_the_ratio() -> None:
    machine = Clock()
    effects = [0.5, 0.22, 0.2, 0.15, 0.1, 0.07, 0.04, 0.03, 0.02, 0.012]
    turns = taken_turns(Fake(machine, 1e-3, effects), Fake(machine, 1e-3))
    assert turns.result().ratio == pytest.approx(1, abs=1e-3)
    a, b = turns.sides
    assert (a.lead_in, b.lead_in) == (10, 1)
    assert a.after_switch
    assert a.after_switch.effects == pytest.approx(effects, abs=1e-6)


def test_a_steady_drift_of_the_machine_cancels_within_a_block() -> None:
    machine = Clock(lambda now: 1 + 0.01 * now)
    assert taken_turns(Fake(machine, 1e-3), Fake(machine, 1.1e-3)).result().ratio == pytest.approx(1.1, rel=1e-4)


def test_blocks_in_which_the_machine_was_slow_do_not_count() -> None:
    """One side suffers more than the other, as on a machine with a busy sibling core."""

    class Sensitive(Fake):
        def ask(self, do: str, **words: Any) -> dict[str, Any]:
            self.seconds = 1e-3 * (1.2 if self.machine.pace(self.machine.now) > 1 else 1.0)
            return super().ask(do, **words)

    machine = Clock(lambda now: 1.5 if 1.0 < now < 2.0 else 1.0)
    result = taken_turns(Fake(machine, 1e-3), Sensitive(machine, 1e-3), seconds=4.0).result()
    assert result.ratio == pytest.approx(1)
    assert 0 < result.full_speed_blocks < result.blocks


def test_a_side_whose_memory_lies_worse_is_no_slower_machine() -> None:
    machine = Clock()
    a, b = Fake(machine, 1e-3), Fake(machine, 1.1e-3)
    b.memory = 1.5e-4
    result = taken_turns(a, b).result()
    assert result.full_speed_blocks == result.blocks


class Varying(Fake):
    """A side whose speed depends on the process, and on the load in it."""

    def __init__(self, machine: Clock, seconds: float, chance: np.random.Generator) -> None:
        super().__init__(machine, seconds)
        self.own, self.chance = seconds * np.exp(chance.normal(0, PROCESS_SD / 2**0.5)), chance

    def load(self) -> None:
        self.seconds = self.own * np.exp(self.chance.normal(0, LOAD_SD))


PROCESS_SD, LOAD_SD = 0.0066, 0.01
"""Standard deviations of the logarithms: of a ratio from process to process, and of an engine from load to load."""


@pytest.mark.parametrize(("planted", "shown"), [(1.0, (0.0, 0.05)), (1.10, (0.99, 1.0))])
def test_the_interval_over_pairs_holds_the_truth_and_shows_what_was_planted(
    planted: float, shown: tuple[float, float]
) -> None:
    """150 simulated comparisons of five pairs of processes each, loads and turns as in `bench ab --seconds 0.5`."""
    chance = np.random.default_rng(15)
    n, held, slower = 150, 0, 0
    for _ in range(n):
        ratios = []
        for _ in range(5):
            machine = Clock()
            a, b = Varying(machine, 5e-3, chance), Varying(machine, planted * 5e-3, chance)

            def load(a: Varying = a, b: Varying = b) -> None:
                a.load()
                b.load()

            ratios.append(take_turns((a, b), load, 0.5, chance, machine.clock).result().ratio)
        ratio = over_processes(ratios)
        held += ratio.low <= planted <= ratio.high
        slower += ratio.low > 1
    assert stats.binomtest(held, n, 0.95).pvalue > 0.001
    assert shown[0] <= slower / n <= shown[1]


def test_a_block_is_abba_or_baab_each_as_often_by_chance() -> None:
    chance = np.random.default_rng(0)
    counts = Counter(order(chance) for _ in range(1000))
    assert counts.keys() == {(0, 1, 1, 0), (1, 0, 0, 1)}
    assert stats.binomtest(counts[0, 1, 1, 0], 1000).pvalue > 0.01


def test_a_call_of_seconds_is_one_part_and_the_first_call_may_compile() -> None:
    machine = Clock()
    slow = Fake(machine, 2.0, effects=[30.0])
    assert warmed_up(slow, 1.0) == 2.0
    into = Alternation()
    probe((slow, Fake(machine, 2.0)), (2.0, 2.0), 0.5, np.random.default_rng(0), into)
    assert [(each.lead_in, each.calls) for each in into.sides] == [(1, 1), (1, 1)]
    before = machine.now
    alternate((slow, Fake(machine, 2.0)), 0.5, np.random.default_rng(0), into, machine.clock)
    assert len(into.rounds[-1]) == 1
    assert machine.now - before < 4 * (2 * 2.0 + 60)


# ---- verdict and gate


@pytest.fixture
def compared(file: Path) -> Callable[..., AbRecord]:
    """The record of a session in which these pairs of processes were measured, by batch."""

    def make(*batches: Sequence[PairedProcess | float], margin: float = 0.02) -> AbRecord:
        model = from_file(file, Given())
        sides = Side("A", "m.onnx", model, 1), Side("B", "m.onnx,threads=1", model, 1)
        session = Session(Plan(sides, range(1, len(batches) + 1), 5, 1.0, margin, 0), lambda line: None)
        session.greetings = [{"python": "3.11.7", "packages": {"onnxruntime": v}, "commit": None} for v in ("1", "2")]
        for batch, values in enumerate(batches, 1):
            made = [one if isinstance(one, PairedProcess) else process(n, one) for n, one in enumerate(values, 1)]
            session.measured[batch] = [Once(one, ({"threads": 1}, {"threads": 1})) for one in made]
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
    model = Side("A", "m.onnx", None, 1)  # type: ignore[arg-type]  # only where it runs is asked
    shown = re.sub(" +", " ", "\n".join(lines(record, (model, model), 0.03, markdown=True)))
    assert "- A: m.onnx: onnxruntime 1, 1 thread" in shown
    assert "| batch 1 | 1.000 ms | 1.000 ms | 1.1000 | 1.0980 to 1.1020 | B is slower |" in shown
    assert "batch 1: the outputs agree (largest difference 0.0e+00, 0 of 8 items have another largest value)" in shown
    assert "5 pairs of fresh processes on this machine, today" in shown
    assert "gate at 3.0%: batch 1 slower: exit code 1" in shown
