"""Design-space exploration: what is swept, which points that makes, what is known of them, and who computes the rest.

    specification   what was asked: models, machines, parameters, constraints
    ranges          the values of a parameter: lists and ranges
    constraints     expressions over keys, which drop points
    grid            the machines that parameters make of one
    plan            models by machines: every point with its key
    identity        the hashes that a key is made of
    ledger          what is known of points, on disk
    work            one point, computed
    lanes, cluster  processes that compute them: here, or on a dask cluster
    driver          hands points to lanes, and what comes back to the ledger
    rows            the rows of sweep.csv

`ms.sweep` and `ms.search` (`minisim/sweep.py`) are the same from Python.
"""
