"""How many calls are made, and in which state: with a clock that only the calls move, in durations without rounding."""

import gc
import itertools
from collections.abc import Iterable, Iterator

import pytest

from bench.percentiles import percentile
from bench.sampling import MOST_SAMPLES, QUICK_SAMPLES, Effort, garbage_collector_held, warm_up


class Clock:
    """A clock that goes on only when something is called, by as much as that takes."""

    def __init__(self, durations: Iterable[float]) -> None:
        self.now, self.durations = 0.0, iter(durations)

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += next(self.durations)


class TestWarmUp:
    def test_it_goes_on_until_the_latency_is_stable(self) -> None:
        # one call alone, then blocks of five: of 4 s, of 4 and 1 s mixed, and three of 1 s
        clock = Clock(itertools.chain([9], [4] * 8, itertools.repeat(1)))
        warmed = warm_up(clock.call, limit_seconds=100, clock=clock)
        assert warmed.stable
        assert warmed.calls == 1 + 5 * 5
        assert warmed.call_seconds == 1
        assert warmed.seconds == 8 * 4 + 17 * 1

    def test_the_first_call_does_not_use_up_the_time(self) -> None:
        """torch.compile takes half a minute for it."""
        clock = Clock(itertools.chain([30], itertools.repeat(0.25)))
        warmed = warm_up(clock.call, limit_seconds=5, clock=clock)
        assert warmed.stable
        assert (warmed.calls, warmed.seconds) == (1 + 3 * 5, 15 * 0.25)

    def test_it_gives_up_on_what_never_settles(self) -> None:
        clock = Clock(0.001 * 1.01**n for n in itertools.count())
        warmed = warm_up(clock.call, limit_seconds=3.0, clock=clock)
        assert not warmed.stable
        assert 3.0 <= warmed.seconds < 4.0

    def test_calls_that_take_longer_than_the_limit_can_still_be_stable(self) -> None:
        clock = Clock(itertools.repeat(1))
        warmed = warm_up(clock.call, limit_seconds=0, clock=clock)
        assert (warmed.calls, warmed.seconds, warmed.call_seconds, warmed.stable) == (1 + 3 * 5, 15, 1, True)

    def test_a_block_of_short_calls_takes_20_ms(self) -> None:
        clock = Clock(itertools.repeat(2**-10))
        warmed = warm_up(clock.call, limit_seconds=0, clock=clock)
        assert warmed.calls == 1 + 3 * 21  # 20 of them take 19.5 ms

    @pytest.mark.parametrize(("slowest", "stable"), [(103, True), (104, False)])
    def test_three_blocks_within_3_percent_are_stable(self, slowest: int, stable: bool) -> None:
        clock = Clock([1] + [slowest] * 5 + [100] * 5 + [102] * 5 + [200] * 5)
        after_three = 5 * (slowest + 100 + 102)
        warmed = warm_up(clock.call, limit_seconds=after_three + 1, clock=clock)
        assert warmed.stable == stable
        assert warmed.calls == 1 + 5 * (3 if stable else 4)

    def test_a_single_outlier_does_not_count(self) -> None:
        """A block's value is its median."""
        clock = Clock([1] + [1, 1, 50, 1, 1] * 3)
        assert warm_up(clock.call, limit_seconds=1000, clock=clock).stable


class TestEffort:
    @pytest.mark.parametrize(
        ("effort", "call_seconds", "samples"),
        [
            pytest.param(Effort(), 1e-3, 2000, id="as many as fit into 2 s"),
            pytest.param(Effort(seconds=4), 1e-3, 4000, id="or into the time that is given"),
            pytest.param(Effort(), 1e-5, MOST_SAMPLES, id="no more than are stored"),
            pytest.param(Effort(), 1.0, 662, id="but enough for p99"),
            pytest.param(Effort(percentiles=(50, 90)), 1.0, 64, id="or for the highest that is asked for"),
            pytest.param(Effort(percentiles=(99.9, 50)), 1e-3, 6636, id="wherever that stands"),
            pytest.param(Effort(percentiles=(50,)), 10.0, 6, id="or for the median alone"),
            pytest.param(Effort(quick=True), 1e-5, QUICK_SAMPLES, id="few for a smoke test"),
            pytest.param(Effort(quick=True), 1.0, QUICK_SAMPLES, id="however long a call takes"),
        ],
    )
    def test_samples(self, effort: Effort, call_seconds: float, samples: int) -> None:
        assert effort.samples(call_seconds) == samples

    def test_a_quick_run_tells_p90_and_no_more(self) -> None:
        assert percentile([1.0] * QUICK_SAMPLES, 90) is not None
        assert percentile([1.0] * QUICK_SAMPLES, 95) is None

    def test_a_comparison_takes_twice_as_long_as_a_case(self) -> None:
        assert Effort(seconds=2).comparison_seconds == 4
        assert Effort(seconds=2, quick=True).comparison_seconds == 0


@pytest.fixture
def collector() -> Iterator[None]:
    """Whatever a test does to it, it is as it was afterwards."""
    assert gc.isenabled()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
class TestGarbageCollector:
    def test_it_is_held_and_given_back(self) -> None:
        with garbage_collector_held():
            assert not gc.isenabled()
            assert gc.get_freeze_count() > 0
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0

    def test_it_is_given_back_after_a_failure(self) -> None:
        with pytest.raises(KeyboardInterrupt), garbage_collector_held():
            raise KeyboardInterrupt
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0

    def test_one_that_was_off_stays_off(self) -> None:
        gc.disable()
        with garbage_collector_held():
            pass
        assert not gc.isenabled()

    def test_garbage_is_gone_before_it_starts(self) -> None:
        garbage: list[object] = []
        garbage.append(garbage)
        del garbage
        with garbage_collector_held():
            assert gc.collect() == 0
