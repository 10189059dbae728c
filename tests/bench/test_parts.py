"""The numbers of calls in the parts of a block: timed ones, and lead-in calls before them."""

import numpy as np
import pytest

from bench.parts import Parts, lead_in_calls, plan_parts, round_seconds

ONE_CALL = Parts((1, 1), (1, 1), known=True)


@pytest.mark.parametrize(
    ("call_seconds", "calls", "lead_in"),
    [
        ((1.0, 0.01), (3, 3), (1, 2)),  # never fewer than three calls after one
        ((0.001, 0.0005), (6, 6), (20, 40)),  # 3 ms, at most 20 ms before; few calls, so equal numbers
        ((0.002, 0.0001), (10, 30), (10, 64)),  # ten calls are enough to differ
        ((0.01, 0.001), (3, 3), (2, 20)),
        ((1.0, 0.0001), (3, 30), (1, 64)),  # equal ones would take too long
        ((0.0004, 0.00001), (10, 300), (50, 64)),
    ],
)
def test_a_part_is_3_ms_and_at_least_three_calls(
    call_seconds: tuple[float, float], calls: tuple[int, int], lead_in: tuple[int, int]
) -> None:
    found = plan_parts(call_seconds, rounds=5)
    assert (found.calls, found.lead_in) == (calls, lead_in)


def test_a_slow_model_has_parts_of_single_calls_where_the_rounds_would_not_fit() -> None:
    # a round is 2 loads x (1 to warm up + 1 + 3) of both engines: 10 x 1.5 s
    full = plan_parts((1.0, 0.5), rounds=5)
    assert round_seconds((1.0, 0.5), full) == 15
    assert plan_parts((1.0, 0.5), rounds=5, most_seconds=75) == full
    assert plan_parts((1.0, 0.5), rounds=5, most_seconds=74) == ONE_CALL
    assert round_seconds((1.0, 0.5), ONE_CALL, blocks=2) == 2 * 1.5 * (1 + 2 * 2)


def test_lead_in_calls_by_hand() -> None:
    """Parts of eight lead-in and four timed calls, of 1 s each but for the first ones."""
    for effects, needed in (
        ([], 1),
        ([1.5], 1),
        ([1.5, 1.01], 2),
        ([1, 1, 1.01], 3),
        ([1, 1, 1.004], 1),
        ([0.9] * 4, 4),
        ([1.1] * 8, 8),
    ):
        one = np.ones(12)
        one[: len(effects)] = effects
        assert lead_in_calls([one] * 6, 4) == needed, effects


def test_noise_of_single_calls_is_no_effect_of_their_index() -> None:
    generator = np.random.default_rng(0)
    found = [lead_in_calls(list(generator.lognormal(0, 0.03, (12, 80))), 40) for _ in range(200)]
    assert np.median(found) <= 4, "of 40"
