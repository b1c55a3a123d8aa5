"""The compiler: from a model to a schedule.

Importing it imports all operators: a graph finds them in a table that they write themselves into (`semantics.py`).
"""

import minisim.compiler.ops  # noqa: F401  # for its effect
