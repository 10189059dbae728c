"""Made-up records of `bench ab`."""

from typing import Any

from study.records.ab import AbComparison, AbRecord, InTurns, Outputs, PairedProcess, SideRecord
from study.records.bench import AfterSwitch, CaseKey
from study.student import mean_interval
from tests.support import records


def process(number: int, ratio: float, **changes: Any) -> PairedProcess:
    turns = InTurns(
        median_seconds=1e-3,
        control=1.0 + 1e-4 * (-1) ** number,
        after_switch=AfterSwitch(lead_in_calls=1, effects=(0.1,)),
        part_calls=10,
        cores_used=1.0,
        idle_cores=0.0,
        switches_per_second=0.0,
    )
    fields: dict[str, Any] = {
        "process": number,
        "ratio": ratio,
        "a": turns,
        "b": turns,
        "loads": 6,
        "blocks": 60,
        "full_speed_blocks": 60,
        "random_seed": 0,
        "calibration": records.CALIBRATION,
        "machine": records.QUIET,
        "valid": True,
        "reasons": (),
    }
    return PairedProcess(**{**fields, **changes})


def compared(a: CaseKey, b: CaseKey, ratio: float, **changes: Any) -> AbRecord:
    """A comparison whose ratios are 0.2 % apart."""
    ratios = [ratio * (1 + 0.002 * (n - 2)) for n in range(5)]
    one, seconds = mean_interval([1.0, 1.001]), mean_interval([1e-5, 1.01e-5])
    fields: dict[str, Any] = {"margin": 0.02, "verdict": "undecided", "valid": True, "reasons": (), **changes}
    comparison = AbComparison(
        a=a,
        b=b,
        ratio=mean_interval(ratios),
        median_seconds_a=seconds,
        median_seconds_b=seconds,
        control_a=one,
        control_b=one,
        settings_a={},
        settings_b={},
        outputs=Outputs(parity=None, differences=()),
        processes=tuple(process(n, value) for n, value in enumerate(ratios, 1)),
        **fields,
    )
    side = SideRecord(word="x", options={}, python="3.11.0", packages={}, commit=None, onnx_bytes=1)
    return AbRecord(
        environment=records.ENVIRONMENT, command=("x", "x"), a=side, b=side, mode="native", comparisons=(comparison,)
    )
