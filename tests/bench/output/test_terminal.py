"""What `pytest bench` prints; the tables, whole, are in tests/golden/bench.txt."""

from bench.output.profiles import profiles
from bench.output.terminal import _distinct, about, shortened, tables
from bench.output.units import number, readable, unit
from study.artifacts import Artifacts
from tests.bench.builders import bench, case
from tests.support.golden import GOLDEN, bench_tables
from tests.support.records import profile


def test_the_tables_are_as_the_golden_ones() -> None:
    assert bench_tables() == (GOLDEN / "bench.txt").read_text(encoding="utf-8")
    for width, text in zip((100, 80, 100, 80), bench_tables().split("\n\n\n"), strict=True):
        assert max(map(len, text.splitlines())) <= width


def test_each_reason_has_a_number_and_the_measurements_it_concerns() -> None:
    cases = [case(model=name, valid=False, reasons=("noisy", f"{n} cores")) for n, name in enumerate("abcd")]
    lines = list(tables(bench(*cases, case()), 100))
    rows = lines[3 : lines.index("")]  # behind a title and two lines of headings
    assert [line.split("  ")[-1] for line in rows] == ["no: 1,2"] * 4 + ["yes"]
    assert lines[lines.index("not valid:") + 1 :] == [
        "  1  noisy (a onnxruntime batch 1, b onnxruntime batch 1, c onnxruntime batch 1 and 1 more)",
        "  2  0 to 3 cores (a onnxruntime batch 1, b onnxruntime batch 1, c onnxruntime batch 1 and 1 more)",
    ]


def test_of_a_session_without_results_nothing_is_printed() -> None:
    assert list(tables(bench(), 80)) == []


def test_operators_of_one_name_have_their_place_in_the_call(artifacts: Artifacts) -> None:
    operators = [("aten::linear", "fc1", 3e-6), ("aten::relu", "", 1e-6), ("aten::linear", "fc2", 2e-6)]
    _, longest = profiles([profile(artifacts, "baseline", "torch", operators)], {})
    assert longest[1][0].cells == ["aten::linear, operator 1", "aten::linear, operator 3", "aten::relu"]


def test_units_suit_all_durations_of_a_column() -> None:
    assert [unit(each)[0] for each in ([0.5e-6], [27e-6, 99e-3], [27e-6, 0.1], [2e-3, 5], [1.5, 2])] == [
        *("µs", "µs", "ms", "ms", "s")
    ]
    assert unit([1e-6, 1e9]) == ("s", 1.0)


def test_numbers_have_significant_digits() -> None:
    assert [number(value) for value in (27.314, 99.996, 187.25, 2034.4, 99999.6, 0.027314)] == [
        *("27.31", "100.0", "187.2", "2,034", "100,000", "0.02731")
    ]
    assert [readable(seconds) for seconds in (27.31e-6, 0.99996e-3, 0.1234, 12.3)] == [
        *("27.3 µs", "1,000 µs", "123 ms", "12.3 s")
    ]


def test_a_name_is_shortened_in_the_middle() -> None:
    assert [shortened("efficientnet", most) for most in (12, 11, 8, 7)] == [
        *("efficientnet", "effi..ntnet", "eff..net", "ef..net")
    ]


def test_forecasts_are_round() -> None:
    assert [about(seconds) for seconds in (0.1, 12, 89, 90, 200)] == ["5 s", "10 s", "90 s", "2 min", "3 min"]


def test_settings_whose_names_differ_in_the_middle_are_not_shortened_to_the_same() -> None:
    assert _distinct(["onnxruntime-spinning", "onnxruntime-iobinding", "torch"], 8) == [
        "onn..ning",
        "onn..ding",
        "torch",
    ]
