"""A cluster of Ray with two nodes of one core each, on the loopback address, with token authentication."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from study.remote.cluster import Place
from tests.train.conftest import few_data as few_data
from tests.train.conftest import one_thread as one_thread
from train.experiments.ray import two_nodes


@dataclass
class Nodes:
    """The cluster: a head without cores, on which this process is the driver, and workers of one core each."""

    cluster: Any
    workers: list[Any]

    @property
    def place(self) -> Place:
        return Place(self.cluster.address)

    def remove(self) -> None:
        """Kill a node and all of its processes. None is added in its place: on one machine all share a folder."""
        self.cluster.remove_node(self.workers.pop(), allow_graceful=False)


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    made = Nodes(*two_nodes())
    import ray

    yield made
    ray.shutdown()
    made.cluster.shutdown()
