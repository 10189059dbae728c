"""Made-up runs of entries of several studies of the catalogue: what `python -m analysis results` is tested on."""

from typing import Any

from msgspec import structs

from study.artifacts import Artifacts
from study.catalogue import entry
from tests.support.study import layers, write_run


def write_entries(artifacts: Artifacts) -> None:
    """The default study's baseline, and entries of the field: whole, with a smaller budget, and without validation.

    In the test cnn5 is right on 92.0, 91.7 and 92.1 % and cnn5-batch128 on 88.0, 87.9 and 87.5 %.
    """
    write_run(artifacts, "baseline", 0, layers(0))
    runs = (
        (0.080, 0.120, [0.2, 0.09, 0.3], (4.0, 6.0, 50.0)),
        (0.083, 0.121, [0.2, 0.10, 0.3], (5.0, 7.0, 8.0)),
        (0.079, 0.125, [0.2, 0.11, 0.3], (3.5, 6.4, 9.0)),
    )
    for seed, (error, other, validation, seconds) in enumerate(runs):
        first: dict[str, Any] = {"validation": validation, "epoch_seconds": seconds}
        write_run(artifacts, "cnn5", seed, layers(seed), test_error=error, **first)
        write_run(artifacts, "cnn5-batch128", seed, layers(seed), test_error=other, validation=[0.1])
        write_run(artifacts, "cnn5-modern", seed, layers(seed), test_error=0.07, epochs=40)
    few = structs.replace(entry("mini-vgg").recipe, epochs=5)
    write_run(artifacts, "mini-vgg", 0, layers(0), validation=[0.3, 0.2, 0.1, 0.1, 0.1], recipe=few)
    write_run(artifacts, "lenet5-1998", 0, {}, parameters=60_000, epochs=20)
    write_run(artifacts, "lenet5-plain", 0, layers(0), test_error=0.1, epochs=60)
    write_run(artifacts, "tuned", 0, layers(0), test_error=0.085, epochs=12)
