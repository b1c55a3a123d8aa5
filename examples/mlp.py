"""The reference case: a three-layer perceptron, y = relu(relu(x w1) w2) w3.

    minisim run --config npu_32x32 examples/mlp.py

A model file defines model(), which takes nothing and returns a Graph: declare inputs and weights, write
the operations as you would in numpy, name the outputs. Copy this file to start your own.
"""

import numpy as np

import minisim as ms


def model() -> ms.Graph:
    rng = np.random.default_rng(seed=0)

    def values(rows: int, cols: int) -> np.ndarray:
        return 0.1 * rng.standard_normal((rows, cols), dtype=np.float32)

    g = ms.Graph("mlp")
    x = g.input("x", (128, 128), data=values(128, 128))  # without data, a run draws its own
    w1 = g.weight("w1", values(128, 64))
    w2 = g.weight("w2", values(64, 32))
    w3 = g.weight("w3", values(32, 32))
    h1 = g.relu(x @ w1)
    h2 = g.relu(h1 @ w2)
    g.output(h2 @ w3, "y")
    return g
