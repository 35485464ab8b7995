"""A Ray of a head and worker nodes with a core each, all of them on this machine, for tests."""

import os
import signal
from contextlib import suppress
from typing import Any

import psutil

# as little memory as Ray allows: a task returns little
_NODE = {"object_store_memory": 75 * 2**20, "include_dashboard": False}


class Ray:
    """A Ray whose head runs no tasks, with some worker nodes. Commands find it by `env`."""

    def __init__(self, nodes: list[str]) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_NODE})
        self.env = {"RAY_ADDRESS": self._cluster.address}
        self._nodes: dict[str, Any] = {}
        for node in nodes:
            self.start(node)

    def start(self, node: str) -> None:
        """Start a node, and wait until it is one of the cluster."""
        self._nodes[node] = self._cluster.add_node(num_cpus=1, **_NODE)

    def up(self) -> set[str]:
        """Return the nodes that run."""
        return set(self._nodes)

    def tasks(self, node: str) -> list[psutil.Process]:
        """Return the worker processes of a node."""
        (raylet,) = self._nodes[node].all_processes["raylet"]
        return psutil.Process(raylet.process.pid).children()

    def kill_node(self, node: str) -> None:
        """Kill a node as a power cut does: its daemon, and all that runs on it."""
        workers = self.tasks(node)
        self._cluster.remove_node(self._nodes.pop(node), allow_graceful=False)
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                os.kill(worker.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it, and what it runs."""
        self._cluster.shutdown()
