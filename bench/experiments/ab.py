"""`bench ab` of an engine with itself, and with 3 % more work: is the first not shown, and the second shown?"""

from argparse import Namespace
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from bench import __main__ as bench
from bench.experiments.common import at_least, interval, made_with
from bench.experiments.twice import PLANTED, SECONDS
from study.errors import StudyError
from study.record_files import read_record
from study.records.ab import AbComparison, AbRecord

REPETITIONS = 40
HOLDS, SHOWN = 37 / 40, 38 / 40
ENGINE = "bench.experiments.twice:"


def run(options: Namespace) -> bool:
    n, seconds = options.repetitions or REPETITIONS, options.seconds or SECONDS
    print(f"{options.model}, batch {options.batch}, {n} times, --seconds {seconds}; {made_with()}")
    same = [_compared(options, "Again", number, seconds) for number in range(1, n + 1)]
    more = [_compared(options, "Slow", number, seconds) for number in range(1, n + 1)]
    held = sum(one.ratio.low <= 1 <= one.ratio.high for one in same)
    slower, faster = sum(one.ratio.low > 1 for one in more), sum(one.ratio.high < 1 for one in more)
    print(f"withheld: {sum(not one.valid for one in (*same, *more))} of {2 * n}")
    print(f"{PLANTED:.0%} planted, shown faster in {faster}; expected 0")
    holds = at_least("the interval of the engine against itself holds 1", held, n, HOLDS)
    return at_least(f"{PLANTED:.0%} planted, shown slower", slower, n, SHOWN) and holds and not faster


def _compared(options: Namespace, name: str, number: int, seconds: float) -> AbComparison:
    """The comparison of `Plain` with this class; it is kept, and measured if there is no such file."""
    file: Path = options.keep / f"ab-{options.model}-{options.batch}-{seconds:g}s" / f"{name}-{number}.json"
    if not file.is_file():
        sides = [f"{options.model},runtime={ENGINE}{one}" for one in ("Plain", name)]
        words = ["--artifacts", str(options.artifacts), "--batches", str(options.batch), "--seconds", str(seconds)]
        with redirect_stdout(StringIO()):
            code = bench.main(["ab", *sides, *words, "--seed", str(number), "--json", str(file)])
        if code:
            raise StudyError(f"`python -m bench ab {' '.join(sides)}` failed; see above")
    (one,) = read_record(file, AbRecord, "delete it").comparisons
    print(f"{name:5} {number:3}  {interval(one.ratio)}: {one.verdict} {'; '.join(one.reasons)}", flush=True)
    return one
