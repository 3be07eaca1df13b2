"""A Ray cluster on this machine, a node of which comes and goes."""

import time
from typing import Any

QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 10,
}
"""A dead node is noticed within seconds; one that is slow, as the machine is busy, is not dead."""


class TwoNodes:
    """A head and another node, of two CPUs each, to which this process is connected."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 2, "include_dashboard": False, "temp_dir": folder}
        self.cluster = Cluster(
            initialize_head=True, head_node_args={**head, "_system_config": QUICK}
        )
        self.other: Any = None
        self.add()

    def add(self) -> None:
        """Let the other node join, if it is not there."""
        if self.other is None:
            self.other = self.cluster.add_node(num_cpus=2)

    def check(self) -> None:
        """Wait until both nodes are there, and no other.

        Raises:
            RuntimeError: where they are not within a minute.
        """
        import ray

        end = time.monotonic() + 60
        while time.monotonic() < end:
            alive = [node for node in ray.nodes() if node["Alive"]]
            if sum(node["Resources"].get("CPU", 0) for node in alive) == 4:
                return
            time.sleep(0.1)
        dead = [node["DeathReasonMessage"] for node in ray.nodes() if not node["Alive"]]
        raise RuntimeError(f"expected two nodes of two CPUs, got {alive}; of the others: {dead}")

    def kill(self) -> None:
        """End all processes of the other node at once."""
        self.cluster.remove_node(self.other, allow_graceful=False)
        self.other = None
