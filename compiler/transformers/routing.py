"""Which experts a token takes: drawn, as often as the user says, and the same of a token in whichever program it is.

What a router would choose depends on values, and a schedule is made before there are any. So the choice is an input of
the model, like its shape: by a seed, for each layer, sequence and position. A program is made for that, and no other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisim.compiler.transformers.table import Transformer

Experts = npt.NDArray[np.int64]


def routed(model: Transformer, layer: int, tokens: int, past: int = 0, batch: int = 1) -> Experts:
    """The numbers of the experts that the tokens take in a layer, ascending: (tokens x batch, top), in the order of the
    rows of `built`.

    Without a popularity all are taken equally often; with one, the first of a token is expert i with the probability
    popularity[i] / sum, and each next one so among those that are left.
    """
    popularity = np.asarray(model.popularity or (1,) * model.experts)
    found = np.empty((tokens, batch, model.top), np.int64)
    for sequence in range(batch):
        uniform = np.random.default_rng([model.routing, layer, sequence]).random((past + tokens, model.experts))[past:]
        when = -np.log1p(-uniform) / popularity  # exponential: the first ones are drawn without being put back
        found[:, sequence] = np.sort(np.argsort(when, axis=1, kind="stable")[:, : model.top], axis=1)
    return found.reshape(-1, model.top)
