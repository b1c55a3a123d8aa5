"""The operators: importing this package registers all of them. A new operator is one new file here."""

from __future__ import annotations

import importlib
import pkgutil

from minisim.compiler.ops.base import ONNX_IMPORTERS, OPERATORS

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ONNX_IMPORTERS", "OPERATORS"]
