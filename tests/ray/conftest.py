"""A cluster of Ray with two nodes of one core each, on the loopback address, with token authentication."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

os.environ.update(  # before Ray is imported
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # listen on 127.0.0.1 alone
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=secrets.token_hex(32),
)

import ray
from ray.cluster_utils import Cluster

from study.remote.cluster import Place
from tests.train.conftest import few_data as few_data
from tests.train.conftest import one_thread as one_thread

STORE = 150 << 20
"""Bytes of each node's object store."""


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
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    made = Nodes(Cluster(initialize_head=True, head_node_args=head), [])
    made.workers += [made.cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    yield made
    ray.shutdown()
    made.cluster.shutdown()
