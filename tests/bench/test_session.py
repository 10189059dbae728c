"""A session: what it is asked for, what several processes come to together, and what is said in the end."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench import plan as options
from bench.plan import _numbers, _percentiles, _threads, limit_threads
from bench.sampling import Budget
from bench.session import Session, said, summary
from study.artifacts import Artifacts, check, read_bench
from study.errors import StudyError
from tests.conftest import ROOT
from tests.support import synthetic
from tests.support.synthetic import BENCH_ENVIRONMENT

Record = dict[str, Any]


def of_processes(cases: Sequence[Sequence[Record]] = (), comparisons: Sequence[Sequence[Record]] = ()) -> Session:
    """A session that has measured the first of `comparisons`; what others measured is in the rest of either."""
    found = Session([], [], [], Budget(), 1, (), dict(BENCH_ENVIRONMENT))
    found.comparisons = list(comparisons[0]) if comparisons else []
    others = max(len(cases), len(comparisons)) - 1
    found.others = [
        {
            "cases": cases[n] if n < len(cases) else [],
            "comparisons": comparisons[n] if n < len(comparisons) else [],
        }
        for n in range(1, others + 1)
    ]
    return found


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


# ---- cases of several processes


def single(artifacts: Artifacts, seconds: float, runtime: str = "torch", batch: int = 1, **changes: Any) -> Record:
    return synthetic.case(artifacts, "gap", runtime, batch, seconds, **changes)


def test_a_case_has_the_medians_of_all_processes_beside_its_own_numbers(artifacts: Artifacts) -> None:
    own = single(artifacts, 1e-3)
    others = [[single(artifacts, 1.1e-3), single(artifacts, 9e-3, batch=32)], [single(artifacts, 1.05e-3)]]
    found = of_processes(cases=[[own], *others]).merged_case(own)
    assert [part["median_seconds"] for part in found["processes"]] == [1e-3, 1.1e-3, 1.05e-3]
    assert found["between_spread"] == pytest.approx(0.1)
    assert {**found, "processes": own["processes"], "between_spread": None} == own


def test_merging_a_case_twice_changes_nothing(artifacts: Artifacts) -> None:
    """pytest-benchmark asks for the JSON of each file that it writes."""
    own = single(artifacts, 1e-3)
    found = of_processes(cases=[[own], [single(artifacts, 2e-3)]])
    once = found.merged_case(own)
    assert found.merged_case(once) == once


@pytest.mark.parametrize(
    "changes", [{"batch": 32}, {"runtime": "onnxruntime"}, {"threads": 2}, {"mode": "numpy"}, {"device": "cuda"}]
)
def test_another_case_of_another_process_is_left_out(changes: Record, artifacts: Artifacts) -> None:
    own = single(artifacts, 1e-3)
    found = of_processes(cases=[[own], [own | changes]]).merged_case(own)
    assert len(found["processes"]) == 1
    assert found["between_spread"] is None


def test_a_process_that_is_not_valid_is_marked(artifacts: Artifacts) -> None:
    own, other = single(artifacts, 1e-3), single(artifacts, 1e-3)
    other["processes"] = [{**other["processes"][0], "valid": False}]
    found = of_processes(cases=[[own], [other]]).merged_case(own)
    assert [part["valid"] for part in found["processes"]] == [True, False]


# ---- comparisons of several processes


def paired(artifacts: Artifacts, ratio: float, half: float = 0.01, floor: float = 0.004, **changes: Any) -> Record:
    """As one process records it."""
    one = {"ratio": ratio, "low": ratio - half, "high": ratio + half, "noise_floor": floor}
    process: Record = {"processes": [one], "between_spread": None, "noise_floor": floor}
    return synthetic.comparison(artifacts, "gap", 1, ratio, ratio - half, ratio + half, **process, **changes)


def test_a_comparison_is_the_median_of_the_processes(artifacts: Artifacts) -> None:
    parts = [paired(artifacts, 1.50, 0.03, 0.01), paired(artifacts, 1.60, 0.01, 0.03), paired(artifacts, 1.53, 0.02)]
    found = of_processes(comparisons=[[part] for part in parts]).merged_comparison(parts[0])
    # lows 1.47, 1.59, 1.51; highs 1.53, 1.61, 1.55; floors 1, 3 and 0.4 %
    assert (found["ratio"], found["low"], found["high"]) == pytest.approx((1.53, 1.51, 1.55))
    assert found["noise_floor"] == 0.01
    assert found["between_spread"] == pytest.approx(1.6 / 1.5 - 1)
    assert [part["ratio"] for part in found["processes"]] == [1.50, 1.60, 1.53]
    assert (found["verdict"], found["valid"], found["reasons"]) == ("faster", True, [])


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.05, 1.06, 1.055), "faster"),  # the spread is 1 %
        ((1.05, 1.12, 1.055), "no difference shown"),  # 6.7 %, more than the 5.5 % of the median
        ((0.95, 0.96, 0.955), "slower"),
        ((0.95, 0.90, 0.955), "no difference shown"),
    ],
)
def test_the_spread_between_processes_counts_as_noise(
    ratios: tuple[float, ...], verdict: str, artifacts: Artifacts
) -> None:
    parts = [paired(artifacts, ratio) for ratio in ratios]
    assert of_processes(comparisons=[[part] for part in parts]).merged_comparison(parts[0])["verdict"] == verdict


@pytest.mark.parametrize("doubtful", [0, 1, 2])
def test_a_doubtful_process_withholds_the_verdict(doubtful: int, artifacts: Artifacts) -> None:
    parts = [paired(artifacts, 1.5) for _ in range(3)]
    parts[doubtful] |= {"valid": False, "reasons": ["noisy"], "verdict": "withheld"}
    found = of_processes(comparisons=[[part] for part in parts]).merged_comparison(parts[0])
    assert (found["verdict"], found["valid"]) == ("withheld", False)
    assert found["reasons"] == [("noisy", "in process 2: noisy", "in process 3: noisy")[doubtful]]


def test_a_comparison_of_one_process_stays_as_it_is(artifacts: Artifacts) -> None:
    own = paired(artifacts, 1.5)
    assert of_processes(comparisons=[[own]]).merged_comparison(own) is own
    others = [paired(artifacts, 3.0, reference="openvino"), own | {"batch": 32}]
    assert of_processes(comparisons=[[own], others]).merged_comparison(own) is own


def test_the_block_of_the_json_fits_the_schema(artifacts: Artifacts) -> None:
    own, other = paired(artifacts, 1.5), paired(artifacts, 1.6)
    found = of_processes(comparisons=[[own], [other]])
    found.overhead_seconds = 1e-7
    found.keep("cold_start", "gap", synthetic.cold_start(artifacts, "gap", "torch"))
    block = found.study()
    check({**block, "cases": []}, "bench/2", "this test", "")
    assert block["processes"] == 2
    assert block["comparisons"][0]["between_spread"] == pytest.approx(1.6 / 1.5 - 1)
    assert found.comparisons == [own], "asking changes nothing"
    assert len(block["cold_starts"]) == 1


# ---- what a session keeps


def test_what_is_kept_is_in_the_journal_too(artifacts: Artifacts) -> None:
    found = of_processes()
    found.begin_journal(artifacts.root / "bench.json")
    case = single(artifacts, 1e-3, reasons=["noisy"], valid=False)
    comparison, start = paired(artifacts, 1.5), synthetic.cold_start(artifacts, "gap", "torch")
    for kind, record in (("case", case), ("comparison", comparison), ("cold_start", start)):
        found.keep(kind, f"the {kind}", record)
    assert found.path == artifacts.root / "bench.json.journal"
    read = read_bench(found.path, "")
    assert (read["cases"], read["comparisons"], read["cold_starts"]) == ([case], [comparison], [start])
    assert (found.comparisons, found.cold_starts) == ([comparison], [start])
    assert found.reasons == {"the case": ["noisy"]}


def test_a_journal_is_of_one_process_however_many_were_asked_for(artifacts: Artifacts) -> None:
    """The further ones are read only when each has ended, and only the JSON has them."""
    found = Session([], [], [], Budget(), 3, (), dict(BENCH_ENVIRONMENT))
    found.begin_journal(artifacts.root / "bench.json")
    assert found.path is not None
    assert read_bench(found.path, "")["processes"] == 1


def test_a_session_without_a_file_has_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = of_processes()
    found.keep("case", "a", {"reasons": []})
    assert found.path is None
    assert list(tmp_path.iterdir()) == []
    assert found.reasons == {}


def test_a_further_process_that_fails_is_told_with_what_it_printed(tmp_path: Path) -> None:
    found = Session([], [], [], Budget(), 2, ["bench", "--models", "gpa"], {})
    with pytest.raises(StudyError, match=r"(?s)^process 2 ended with exit code 2:.*no model is called 'gpa'"):
        found.measure_again(2, ROOT)
    assert found.others == []


# ---- words of the command line


@pytest.mark.parametrize(("text", "numbers"), [("1", [1]), ("32,1,256", [32, 1, 256]), ("1,2,1", [1, 2])])
def test_numbers(text: str, numbers: list[int]) -> None:
    assert _numbers("batches", text) == numbers


@pytest.mark.parametrize("text", ["", "0", "1,0", "1,,2", "1,", "-1", "1.5", "x", "1;2", "²", "all"])
def test_what_are_no_numbers_is_refused(text: str) -> None:
    message = f"--batches: expected numbers from 1 with commas between them, found {text!r}"
    with pytest.raises(StudyError) as refusal:
        _numbers("batches", text)
    assert str(refusal.value) == message


@pytest.mark.parametrize(("text", "percentiles"), [("50", (50,)), ("50,99.9", (50, 99.9)), ("99,90", (99, 90))])
def test_percentiles(text: str, percentiles: tuple[float, ...]) -> None:
    assert _percentiles(text) == percentiles


@pytest.mark.parametrize("text", ["", "75", "50,100", "99.90", "p99", "50,,90"])
def test_percentiles_that_are_not_told_are_refused(text: str) -> None:
    with pytest.raises(StudyError) as refusal:
        _percentiles(text)
    assert str(refusal.value) == f"--percentiles: expected some of 50,90,95,99,99.9, found {text!r}"


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "usable_cores", lambda: 4)
    assert _threads("all") == [4]
    assert _threads("4,1") == [4, 1]
    with pytest.raises(StudyError, match=r"^--threads: expected at most the 4 cores this process may use, found 5$"):
        _threads("1,5")
    with pytest.raises(StudyError, match=r"^--threads: expected numbers from 1 with commas"):
        _threads("0")


def test_openmp_has_no_more_threads_than_are_asked_for_and_none_that_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "to be overwritten")
    limit_threads(3)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("3", "PASSIVE")


# ---- what is said


def test_a_comparison_in_one_line(artifacts: Artifacts) -> None:
    line = "gap batch 1 threads 1: onnxruntime 1.500 times as fast as torch (95 % 1.490 to 1.510, noise floor 0.4%)"
    assert said(paired(artifacts, 1.5, verdict="faster")) == f"{line}: faster"
    own, other = paired(artifacts, 1.5), paired(artifacts, 1.53)
    (line,) = summary(of_processes(comparisons=[[own], [other]]))
    assert line == (
        "gap batch 1 threads 1: onnxruntime 1.515 times as fast as torch "
        "(95 % 1.505 to 1.525, noise floor 0.4%, 2 processes within 2.0%): faster"
    )


def test_a_reason_is_told_once_with_whom_it_concerns(artifacts: Artifacts) -> None:
    found = of_processes(comparisons=[[paired(artifacts, 1.5)]])
    found.reasons = {"a": ["noisy"], "b": ["noisy", "drift"], "c": ["noisy"], "d": ["noisy"], "e": ["noisy"]}
    lines = list(summary(found))
    assert lines[0].startswith("gap batch 1")
    assert lines[1:] == ["not valid: noisy (a, b, c and 2 more)", "not valid: drift (b)"]
    found.reasons = {name: ["noisy"] for name in "abc"}
    assert list(summary(found))[1:] == ["not valid: noisy (a, b, c)"]


def test_nothing_to_say() -> None:
    assert list(summary(of_processes())) == []
