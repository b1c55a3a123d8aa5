"""The preset `tpu_v1` against the first TPU in its data centre: two fully connected networks.

    python benchmarks/fidelity/tpu_v1.py

Truth: N. Jouppi et al., "In-datacenter performance analysis of a tensor processing unit", ISCA 2017; tables 1 (layers,
weights, batch) and 3 (operations per second). The widths of the layers are not public: all are taken as square, and as
wide as gives the published number of weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import minisim as ms


@dataclass(frozen=True)
class Network:
    """A network of equal fully connected layers with ReLU, and the TeraOps/s that were measured of it."""

    name: str
    batch: int
    width: int
    layers: int
    measured: float

    def graph(self) -> ms.Graph:
        g = ms.Graph(self.name)
        x = g.input("x", (self.batch, self.width), dtype="int8")
        for i in range(self.layers):
            w = g.weight(f"w{i}", shape=(self.width, self.width), dtype="int8")
            x = g.relu(g.matmul(x, w, scale=0.001))
        g.output(x)
        return g

    @property
    def ours(self) -> float:
        """TeraOps/s on the preset: 2 operations for each multiplication of an input and a weight."""
        machine = ms.Machine.load("tpu_v1")
        seconds = ms.run(self.graph(), machine, numerics=False).cycles / machine.clock.frequency
        return float(2 * self.batch * self.layers * self.width**2 / seconds / 10**12)

    @property
    def roofline(self) -> float:
        """TeraOps/s if each weight is read once, and nothing else takes time."""
        return 2 * self.batch * 34e9 / 1e12


NETWORKS = (Network("MLP0", 200, 2000, 5, measured=12.3), Network("MLP1", 168, 1118, 4, measured=9.7))


def main() -> None:
    print("network  measured   ours   error  roofline    (TeraOps/s)")
    for network in NETWORKS:
        ours = network.ours
        error = ours / network.measured - 1
        print(f"{network.name:<8} {network.measured:>8.1f} {ours:>6.2f} {error:>+7.1%} {network.roofline:>9.1f}")


if __name__ == "__main__":
    main()
