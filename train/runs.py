"""Make the requested runs that are not finished, side by side."""

import time
from collections.abc import Sequence

from study.artifacts import Artifacts, RunFiles
from study.data import datasets
from study.entry import Entry
from train.options import Settings, Shard


def listed(
    entries: Sequence[Entry], seeds: Sequence[int], artifacts: Artifacts, shard: Shard
) -> list[tuple[Entry, RunFiles]]:
    """The runs of each entry with each seed that belong to the shard, finished or not."""
    everything = [(entry, artifacts.run(entry.name, seed)) for entry in entries for seed in seeds]
    return everything[shard.index - 1 :: shard.count]


def make(wanted: Sequence[tuple[Entry, RunFiles]], artifacts: Artifacts, settings: Settings) -> int:
    """Train each of these runs, unless it is finished with the same recipe and network.

    Returns:
        The exit code: 1 if a run failed.

    Raises:
        StudyError: the images are not available, or a network does not accept them.
    """
    from train.fitting import is_finished
    from train.progress import Display
    from train.tasks import Elsewhere, Event, Failed, Task

    data = datasets.prepare((entry.dataset for entry, _ in wanted), artifacts.data, settings.data)
    tasks = []
    for entry, files in wanted:
        task = Task(entry, files, data, settings.fresh, settings.device)
        if not settings.fresh and is_finished(files, entry):
            print(f"{task.label}: finished, recipe and network have not changed: nothing to do")
        else:
            tasks.append(task)
    if not tasks:
        return 0

    costs = {entry.name: cost(entry) for entry in {task.entry.name: task.entry for task in tasks}.values()}
    tasks.sort(key=lambda task: -costs[task.entry.name])  # longest first, so that no core is idle at the end
    failed: list[str] = []
    shared = 0
    started = time.perf_counter()
    with Display(tasks) as display:

        def report(task: Task, event: Event) -> None:
            nonlocal shared
            shared += isinstance(event, Elsewhere)
            display.show(task, event)
            if isinstance(event, Failed):
                failed.append(f"FAILED: {task.label}: {event.reason}")

        settings.engine(tasks, min(settings.workers, len(tasks)), report)
    minutes = (time.perf_counter() - started) / 60
    others = f", {shared} of them by another command," if shared else ""
    trained = f"{len(tasks) - len(failed)} of {len(tasks)} runs trained"
    print(f"{trained}{others} in {minutes:.1f} minutes under {artifacts.root}")
    for line in failed:
        print(line)
    return 1 if failed else 0


def cost(entry: Entry) -> float:
    """Relative work of a run: floating-point operations of a training step, times images and epochs.

    The step, with two images, and an evaluation also check that the network can be trained on the data set.

    Raises:
        StudyError: it cannot.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from study import soundness
    from study.networks import build

    dataset = datasets.find(entry.dataset)
    network = build(entry)
    images = torch.rand(2, *dataset.shape)
    with FlopCounterMode(display=False) as counter:
        logits = soundness.logits(entry, network, images)
        try:
            torch.autograd.backward(logits.sum())
        except Exception as error:  # of any kind: no parameter takes part, or a user's gradient fails
            raise soundness.unusable(entry, "training", error) from None
    soundness.check(entry, network, images)
    return float(counter.get_total_flops() * entry.recipe.epochs * dataset.train_images)
