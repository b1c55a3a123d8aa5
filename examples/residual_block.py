"""A gated residual block: y = x + sigmoid(x wg + bg) * (relu(x w1 + b1) w2 + b2).

    minisim run --config npu_32x32 examples/residual_block.py

The input has three dimensions, (batch, time, features): a matrix product works on the last one, and the
machine sees the others as rows. Operations have names here, which the reports show.
"""

import numpy as np

import minisim as ms

BATCH, TIME, FEATURES, HIDDEN = 2, 48, 64, 96


def model() -> ms.Graph:
    rng = np.random.default_rng(seed=0)
    g = ms.Graph("residual_block")

    def linear(x: ms.Tensor, name: str, outputs: int) -> ms.Tensor:
        """x w + b. The bias is a row, added to every row of the product; fusion makes one operation of both."""
        w = 0.1 * rng.standard_normal((x.shape[-1], outputs), dtype=np.float32)
        b = 0.1 * rng.standard_normal(outputs, dtype=np.float32)
        product = g.matmul(x, g.weight(f"{name}.w", w), name=f"{name}.matmul")
        return g.add(product, g.weight(f"{name}.b", b), name=name)

    x = g.input("x", (BATCH, TIME, FEATURES))
    gate = g.sigmoid(linear(x, "gate", FEATURES))
    hidden = g.relu(linear(x, "expand", HIDDEN))
    update = linear(hidden, "project", FEATURES)
    g.output(x + gate * update, "y")
    return g
