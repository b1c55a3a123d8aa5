"""Models in ONNX, opset 7 and up; of older ones what has not changed since.

How an operator is imported stands in its file in `compiler/ops/`.

Whatever the file fixes is computed here: initializers, Constant nodes, and every node that reads only
those (a transposed weight, a shape put together from pieces), with ONNX's own reference implementation.
All that remains must have an importer; what has none is refused, all of it in one message.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from minisim.compiler.arguments import MAX_RANK
from minisim.compiler.blocked import Blocked
from minisim.compiler.dtypes import CODE, converted, one_of
from minisim.compiler.frontend.beside import read_beside
from minisim.compiler.frontend.blocked_weights import blocked_weight
from minisim.compiler.frontend.bound import bound_value, how_to_bind_value, unknown_value
from minisim.compiler.frontend.dims import Dims, bind, how_to_bind
from minisim.compiler.frontend.into_weights import fold_into_weights, forget_unused
from minisim.compiler.frontend.layout import settle
from minisim.compiler.frontend.pasts import (
    Pasts,
    Place,
    bound_by,
    check_present,
    pairs_of,
    past_of,
    settle_dims,
)
from minisim.compiler.frontend.refusals import Refusals
from minisim.compiler.frontend.spread import spread_quantised
from minisim.compiler.frontend.turned import Turned
from minisim.compiler.frontend.wide import wide_inputs_of
from minisim.compiler.graph import Array, Graph, Tensor
from minisim.compiler.memory import MEMORY_LIMIT, Budget
from minisim.compiler.ops import ONNX_IMPORTERS
from minisim.compiler.ops.base import OnnxNode
from minisim.compiler.ops.cast import ONNX_TYPES
from minisim.compiler.ops.onnx_past import READERS, Past
from minisim.compiler.values import Lazy, Precise, Values, mapped
from minisim.errors import (
    MemoryLimitError,
    MissingExtraError,
    ModelError,
    UnsupportedError,
    one_line,
    printable,
    shortened,
    shown,
)

try:
    import onnx
    import onnx.inliner
    import onnx.reference
    from google.protobuf.message import DecodeError, Message
except ModuleNotFoundError:
    raise MissingExtraError.of("onnx", "onnx", "reading an ONNX model") from None

from onnx.external_data_helper import load_external_data_for_tensor

from minisim.compiler.frontend.external_data import (  # they import onnx, too
    all_tensors,
    attributes_of,
    check_external_data,
)
from minisim.compiler.frontend.onnx_bodies import WITH_BODIES, Bodies
from minisim.compiler.frontend.onnx_constants import (
    Constant,
    check_int32,
    folded,
    initializer,
    is_absent,
    is_float_tensor,
    output_forms,
)
from minisim.compiler.frontend.onnx_nodes import domain_of, library, names_of, op_type_of, opsets_of, plain_nodes
from minisim.compiler.frontend.quantised import fuse_quantised

OLDEST_OPSET = 7
"""The oldest whose operators the importers know. Of an older one a node is taken if its operator is the same here."""


def load_onnx(
    path: Path,
    dims: Dims | None = None,
    *,
    values: Mapping[str, Array] | None = None,
    offered: Mapping[str, Array] | None = None,
    numerics: bool = True,
    memory_limit: int = MEMORY_LIMIT,
    pasts: Pasts | None = None,
) -> Graph:
    """Return the graph of an ONNX file; inputs and outputs keep their ONNX names.

    All tensors of the graph have the types that the file gives them: float32 stands for what the machine computes in.

    Args:
        dims: sizes of the dimensions of inputs that the file leaves open (see dims.py); without one it is refused.
        values: of inputs that are bound (see bound.py).
        offered: of inputs; those that are int64 in the file are bound to them, too.
        numerics: if nobody computes with the model, weights may be elsewhere, or missing: their shapes are enough.
        memory_limit: bytes of all constants together.
        pasts: for a decoder: where in a text the program stands; its caches are states then, and no outputs.

    Raises:
        ModelError: the file is damaged, or not valid ONNX.
        ShapeError: the operands of a node do not fit.
        UnsupportedError: names all nodes, inputs and outputs that minisim cannot take.
        MissingExtraError: when this module is imported without the package onnx.
    """
    graph, *_ = load_onnx_named(
        path, dims or {}, values, offered, numerics=numerics, memory_limit=memory_limit, pasts=pasts
    )
    return graph


def load_onnx_named(
    path: Path,
    dims: Dims,
    values: Mapping[str, Array] | None = None,
    offered: Mapping[str, Array] | None = None,
    *,
    numerics: bool = True,
    memory_limit: int = MEMORY_LIMIT,
    prepare: Callable[[onnx.ModelProto], None] | None = None,
    pasts: Pasts | None = None,
    called: str = "",
) -> tuple[Graph, dict[str, Turned], onnx.ModelProto]:
    """What `load_onnx` returns; for each value of the model what it is of the graph's tensors; and the model, its
    functions expanded and its external data read. `prepare` may change the model before that; messages name it as it is
    `called`, by default by its path."""
    try:
        model = _read(path, numerics)
        if prepare:
            prepare(model)
        _check(model if numerics else _without_absent(model), path, numerics)
        with library("its quantised operators cannot be read"):
            fuse_quantised(model)
            spread_quantised(model)
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = [info for info in model.graph.input if info.name not in constants]
        pairs = {} if pasts is None else pairs_of(model, pasts.given, pasts.needed)
        followed = {} if pasts is None else bound_by(model, pasts, inputs)
        bound = _bound_inputs(inputs, {**followed, **(values or {})}, offered or {})
        if pasts is not None:
            settle_dims(model, pairs, pasts.place, dims)
        bind([info for info in inputs if info.name not in bound], dims)
        with np.errstate(all="ignore"):  # constants may overflow as they like: they are what the model says
            name = path.stem.encode(errors="backslashreplace").decode()
            found = _Import(model, name, path.parent, Budget(memory_limit), numerics, bound)
            found.states = pairs
            found.place = None if pasts is None else pasts.place
            return found.run(), found.tensors(), model
    except (ModelError, MemoryLimitError) as e:
        raise type(e)(f"{called or f'model {str(path)!r}'}: {e}") from None


def _bound_inputs(
    inputs: Sequence[onnx.ValueInfoProto], values: Mapping[str, Array], offered: Mapping[str, Array]
) -> dict[str, Array]:
    """The values of all inputs that have some, as the inputs have them."""
    by_name = {info.name: info for info in inputs}
    if unknown := [name for name in values if name not in by_name]:
        raise unknown_value(list(by_name), unknown[0])
    int64 = [info.name for info in inputs if info.type.tensor_type.elem_type == onnx.TensorProto.INT64]
    given = {name: array for name, array in offered.items() if name in int64} | dict(values)
    found = {}
    for name, value in given.items():
        code = by_name[name].type.tensor_type.elem_type
        if code not in onnx.helper.get_all_tensor_dtypes():
            raise ModelError(f"input {shown(name)} must be a tensor of integers to be bound to values")
        found[name] = bound_value(by_name[name], onnx.helper.tensor_dtype_to_np_dtype(code), value)
    return found


def _read(path: Path, numerics: bool) -> onnx.ModelProto:
    """The model with its external data, and its local functions expanded."""
    try:
        model = _with_domains(onnx.load(path, load_external_data=False))
    except DecodeError:
        raise ModelError("is not an ONNX file, or is damaged") from None
    except OSError as e:
        raise ModelError(f"cannot be read ({e.strerror})") from None
    except RecursionError:  # protobuf's own limit is below Python's, where it is written in C
        raise ModelError("is not an ONNX file: nested too deep") from None
    if not all(isinstance(text, str) for text in _texts(model)):  # protobuf gives bytes then
        raise ModelError("is damaged: a name in it is not UTF-8")
    tensors = all_tensors(model.graph) if numerics else attributes_of(model.graph)
    external = [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]
    check_external_data(external, path.parent)
    with library("its external data cannot be read"):
        for tensor in external:
            load_external_data_for_tensor(tensor, str(path.parent))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    with library("its functions cannot be expanded"):
        return onnx.inliner.inline_local_functions(model) if model.functions else model


NOT_OF_ONNX = {"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "SkipLayerNormalization"}
"""Operators that ONNX Runtime writes into ONNX's own domain, too."""


def _with_domains(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in which what ONNX Runtime adds to ONNX's operators is of its own domain."""
    found = [node for node in model.graph.node if node.op_type in NOT_OF_ONNX and not domain_of(node.domain)]
    for node in found:
        node.domain = "com.microsoft"
    if found and "com.microsoft" not in opsets_of(model):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return model


def _texts(message: Message) -> Iterator[str | bytes]:
    """All fields of a message, and of those inside it, that should be text."""
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_STRING:
            yield from value if descriptor.is_repeated else (value,)
        elif descriptor.message_type:
            for part in value if descriptor.is_repeated else (value,):
                yield from _texts(part)


def _without_absent(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for the checker, which asks for all values: weights that are not in the file are inputs."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    inputs = {info.name for info in bare.graph.input}
    absent = [tensor for tensor in bare.graph.initializer if is_absent(tensor)]
    bare.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in absent if t.name not in inputs
    )
    kept = [tensor for tensor in bare.graph.initializer if not is_absent(tensor)]
    del bare.graph.initializer[:]
    bare.graph.initializer.extend(kept)
    return bare


def _check(model: onnx.ModelProto, path: Path, numerics: bool) -> None:
    """Check the opset, and that the file is valid ONNX.

    Raises:
        ModelError: it is not.
        UnsupportedError: ... because of operators that ONNX does not know: all nodes without an importer
            are named, also those that would have been computed here.
    """
    opset = opsets_of(model).get("")
    if opset is not None and not 1 <= opset <= onnx.defs.onnx_opset_version():
        newest = f"{onnx.defs.onnx_opset_version()}, the newest that onnx {onnx.__version__} knows"
        raise ModelError(f"opset must be from 1 to {newest}, not {opset}")
    if opset is None and any(not domain_of(node.domain) for node in model.graph.node):
        raise ModelError("is not valid ONNX: it has operators of ONNX, but does not import their opset")
    complete = not _complete_outputs(model)
    with library("cannot be checked"):
        try:
            # by path, unless something was added: a model in memory may not be over 2 GB; but only a path that onnx, in
            # C++, can be given
            onnx.checker.check_model(path if numerics and complete and _is_utf8(str(path)) else model)
        except onnx.checker.ValidationError as e:
            nodes = model.graph.node
            known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
            if any(not domain_of(node.domain) and node.op_type not in known for node in nodes):
                refusals = Refusals()
                for name, op_type in zip(names_of(nodes), map(op_type_of, nodes), strict=True):
                    if op_type not in ONNX_IMPORTERS and op_type != "Constant":
                        refusals.add_node(op_type, name)
                _refuse(refusals)
            raise ModelError(f"is not valid ONNX: {one_line(e)}") from None


def _is_utf8(text: str) -> bool:
    """Whether UTF-8 can encode it: a file name may be any bytes, and those that are not UTF-8 are half characters."""
    return text.encode(errors="ignore").decode() == text


def _complete_outputs(model: onnx.ModelProto) -> bool:
    """Write a form for outputs that have none, which the checker asks for and nothing else does; whether there were."""
    bare = [info for info in model.graph.output if not info.type.tensor_type.HasField("shape")]
    for info in bare:
        if info.type.WhichOneof("value") in (None, "tensor_type"):
            info.type.tensor_type.elem_type = info.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
            info.type.tensor_type.shape.SetInParent()
    return bool(bare)


MOVES = {"Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile",
         "Transpose", "Unsqueeze"}  # fmt: skip
"""Operators whose outputs have the values of their operands, int64 or not."""

COMPARES = {"Cast", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
"""Operators that take int64 as well as int32, if int32 has all their operands."""


class _Import(Bodies):
    """One import, and the `OnnxContext` of the operators' importers.

    Each ONNX value is a constant, or a tensor of the graph, or lost: it depends on something refused.

    Attributes:
        states: of a decoder, the outputs that are its pasts with new rows behind, by the inputs that these are.
        place: and where its program stands.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        name: str,
        folder: Path,
        budget: Budget,
        numerics: bool,
        bound: Mapping[str, Array],
    ) -> None:
        self.graph = Graph(name)
        self.graph.bound = dict(bound)
        self.opset = opsets_of(model).get("", OLDEST_OPSET)
        self._model = model
        self._budget = budget
        self._numerics = numerics
        self._folder = folder
        self._turned: dict[str, Turned] = {}
        with library("its initializers cannot be read"):
            self._constants = {t.name: initializer(t, folder, budget, numerics) for t in model.graph.initializer}
        self._constants.update((name, Constant(value.dtype, value)) for name, value in bound.items())
        self._of_bound = set(bound)  # and the constants that are computed of these
        self._tensors: dict[str, Tensor] = {}
        self._wide: set[str] = set()  # values that are int64 in the file, and int32 in the graph, which has all of them
        self._taken_wide = wide_inputs_of(model, MOVES, COMPARES)
        self._beside_wide = False  # whether the node that is imported reads one of these
        self._lost: set[str] = set()
        self._refusals = Refusals()
        self.states: Mapping[str, str] = {}
        self.place: Place | None = None
        self._used = {name for node in model.graph.node for name in node.input}
        self._used |= {info.name for info in model.graph.output}

    def run(self) -> Graph:
        for sparse in self._model.graph.sparse_initializer:
            self._lose(f"sparse initializer {shown(sparse.values.name)}", [sparse.values.name])
        for info in self._model.graph.input:
            if info.name not in self._constants:  # before IR version 4, initializers were listed as inputs too
                self._add_input(info)
        for proto, node in zip(self._model.graph.node, plain_nodes(self._model.graph), strict=True):
            self._add_node(proto, node)
        presents = set(self.states.values())
        for info in self._model.graph.output:
            if info.name in presents:
                continue  # the state has it
            if (kind := info.type.WhichOneof("value")) in (None, "tensor_type"):
                self._add_output(info.name)
            else:
                self._lose(f"output {shown(info.name)} must be a tensor, not a {kind}", [info.name])
        for past, present in self.states.items():
            if past not in self._lost and present not in self._lost:
                check_present(self.graph, past, present, self._tensors.get(present))
        if self._refusals:
            _refuse(self._refusals)
        read_beside(self.graph)
        self._turned = settle(self.graph)
        fold_into_weights(self.graph)
        forget_unused(self.graph)
        return self.graph

    def tensors(self) -> dict[str, Turned]:
        """For each value that a node computes the graph's tensor, if there is one, and the order of its axes."""
        computed, kept = {name for node in self._model.graph.node for name in node.output}, self.graph.tensors
        found = {}
        for value, tensor in self._tensors.items():
            itself = Turned(tensor.name, tuple(range(len(tensor.shape))))
            found[value] = itself if tensor.name in kept else self._turned.get(tensor.name, itself)
        return {value: of for value, of in found.items() if value in computed and of.source in kept}

    # -- what importers may ask (OnnxContext) ----------------------------------------------------------

    def value(self, name: str) -> Tensor:
        if name not in self._tensors and name not in self._constants:
            raise ModelError(f"operand {name!r} is missing" if name else "an operand that it needs is left out")
        if name not in self._tensors:
            self._tensors[name] = self.weight(name, self._constants[name].values)
        return self._tensors[name]

    def constant(self, name: str) -> Array | Lazy | None:
        found = self._constants.get(name)
        if found is not None and found.dtype.kind in "OSUc":
            raise UnsupportedError(f"constant {name!r} must be real numbers, not {found.dtype}")
        return None if found is None else found.values

    def constant_dtype(self, name: str) -> str | None:
        found = self._constants.get(name)
        return None if found is None else found.dtype.name

    def integers(self, name: str) -> list[int] | None:
        values = self.constant(name)
        if values is None:
            return None
        if self._constants[name].dtype.kind not in "iu":
            raise ModelError(f"constant {name!r} must be integers, not {self._constants[name].dtype}")
        if math.prod(values.shape) > MAX_RANK:
            raise ModelError(f"constant {name!r} must have at most {MAX_RANK} values, not {math.prod(values.shape)}")
        found = values.array() if isinstance(values, Lazy) else values
        return [int(value) for value in found.reshape(-1)]

    def weight(self, name: str, data: Array | Lazy, dtype: str | None = None) -> Tensor:
        dtype = dtype or self._constants[name].dtype.name
        if dtype == "int64" and (name in self._of_bound or self._beside_wide):
            dtype = "int32"
            check_int32(name, data)
        if dtype not in CODE:
            raise UnsupportedError(f"constant {name!r} must be {one_of(CODE)}, not {dtype}")
        values: Values = data
        as_it_is = (isinstance(data, Precise) and dtype == "float32") or (
            isinstance(data, Blocked) and dtype == data.dtype
        )
        if not as_it_is:
            values = mapped(data, partial(converted, dtype=dtype))  # of a derived one, too, which may be float32
        assert values is not None
        return self.graph.weight(self.graph.fresh_name(name), values, dtype)

    # -- the parts of a model --------------------------------------------------------------------------

    def _add_input(self, info: onnx.ValueInfoProto) -> None:
        if problems := list(_input_problems(info, info.name in self._taken_wide)):
            for problem in problems:
                self._lose(f"input {shown(info.name)}{problem}", [info.name])
            return
        dims = [d.dim_value for d in info.type.tensor_type.shape.dim]
        is_wide = info.name in self._taken_wide
        dtype = "int32" if is_wide else ONNX_TYPES[info.type.tensor_type.elem_type]
        if is_wide:
            self._wide.add(info.name)
        if info.name in self.states:
            assert self.place is not None
            self._tensors[info.name] = past_of(self.graph, info.name, dims, dtype, self.place)
            return
        self._tensors[info.name] = self.graph.input(info.name, dims, dtype=dtype)

    def _add_node(self, proto: onnx.NodeProto, node: OnnxNode) -> None:
        if self._is_constant(proto, node):
            self._fold(proto, node)
        elif node.op_type in WITH_BODIES:
            self._inlined(node)
        elif node.op_type in ("Shape", "Size") and node.inputs and node.inputs[0] in self._tensors and node.outputs:
            self._constants[node.outputs[0]] = _shape_of(node, self._tensors[node.inputs[0]])
        elif (reason := self._unsupported(node)) is not None:
            self._lose_node(node, reason)
        elif not self._lost.isdisjoint(node.inputs):
            self._lost.update(node.outputs)
        else:
            self._import(node)

    def _inlined(self, node: OnnxNode) -> None:
        """What is inside a node, in its place."""
        if not self._lost.isdisjoint(node.inputs):
            self._lost.update(node.outputs)
            return
        try:
            self._inline(node)
        except UnsupportedError as e:
            self._lose_node(node, str(e))
        except ModelError as e:
            raise type(e)(_about(node, str(e))) from None

    def _import(self, node: OnnxNode) -> None:
        self._beside_wide = not self._wide.isdisjoint(node.inputs)
        try:
            wanted = tuple(name if name in self._used else "" for name in node.outputs)
            several = ONNX_IMPORTERS[node.op_type].several_outputs
            built = ONNX_IMPORTERS[node.op_type].build(self, replace(node, outputs=wanted) if several else node)
            outputs = (built,) if isinstance(built, Tensor) else built
            self._tensors.update((name, x) for name, x in zip(node.outputs, outputs, strict=False) if name)
            self._wide.update(node.outputs[place] for place in self._wide_outputs(node))
        except UnsupportedError as e:
            self._lose_node(node, str(e))
        except ModelError as e:
            raise type(e)(_about(node, str(e))) from None

    def _wide_outputs(self, node: OnnxNode) -> Iterable[int]:
        """The places of the outputs that are int64 in the file."""
        values = node.inputs[:1] if node.op_type == "Gather" else node.inputs  # its indices only say which
        if node.op_type in MOVES and not self._wide.isdisjoint(values):
            return range(len(node.outputs))
        return (place for place in ONNX_IMPORTERS[node.op_type].int64_outputs if place < len(node.outputs))

    def _is_constant(self, proto: onnx.NodeProto, node: OnnxNode) -> bool:
        """Whether the node reads constants only, and gives the same values each time."""
        if "::" in node.op_type or any(isinstance(value, onnx.GraphProto) for value in node.attrs.values()):
            return False
        schema = onnx.defs.get_schema(node.op_type, opsets_of(self._model)[""], "")
        if schema.non_deterministic:  # type: ignore[attr-defined]  # missing in onnx's stub file
            return False
        if not all(i in self._constants for i in node.inputs if i):
            return False
        return self._of_bound.isdisjoint(node.inputs) or not self._is_activation(proto)

    def _is_activation(self, proto: onnx.NodeProto) -> bool:
        """Whether floats are made of bound integers, such as rows of a table by tokens: the machine's to compute.

        Integers are shapes, axes and indices; and so is a list of a few floats, such as scales.
        """
        operands = {i: self._constants[i] for i in proto.input if i}
        forms = output_forms(proto, operands, opsets_of(self._model))
        return any(is_float_tensor(form, beyond=MAX_RANK) for form in forms.values())

    def _fold(self, proto: onnx.NodeProto, node: OnnxNode) -> None:
        try:
            with library("its constant value cannot be computed"):
                operands = {i: self._constants[i] for i in node.inputs if i}
                if (weight := blocked_weight(node, operands)) is not None:
                    self._constants[node.outputs[0]] = weight
                    return
                versions = opsets_of(self._model)
                self._constants.update(folded(proto, operands, versions, self._budget, self._numerics))
                if not self._of_bound.isdisjoint(operands):
                    self._of_bound.update(node.outputs)
        except ModelError as e:
            self._lose_node(node, str(e))

    def _add_output(self, name: str) -> None:
        if name in self._constants and self._constants[name].dtype == np.int64:
            self.graph.given[name] = self._constants[name].array()
        elif name in self._constants and self._constants[name].dtype.name not in CODE:
            self._lose(f"output {shown(name)} is a constant of {self._constants[name].dtype}", [name])
        elif name in self._constants:
            self._copy(self.weight(name, self._constants[name].values), name)
        elif name not in self._tensors and name not in self._lost:
            raise ModelError(f"output {shown(name)} is computed by no node")
        elif name not in self._lost:
            tensor = self._tensors[name]
            if tensor.name in self.graph.inputs or tensor.is_weight:
                self._copy(tensor, name)
            else:
                self.graph.output(tensor, name)
                self.graph.wide |= {name} & self._wide

    def _copy(self, tensor: Tensor, name: str) -> None:
        """An output that is given, not computed: it has to be where the output is."""
        whole = [None] * len(tensor.shape)
        self.graph.output(self.graph.take(tensor, whole, kind="Copy", name=self.graph.fresh_name(name)), name)

    def _lose(self, reason: str, values: Iterable[str]) -> None:
        self._refusals.add(reason)
        self._lost.update(values)

    def _lose_node(self, node: OnnxNode, reason: str) -> None:
        self._refusals.add_node(node.op_type, node.name, reason, node.place)
        self._lost.update(node.outputs)

    def _unsupported(self, node: OnnxNode) -> str | None:
        """Why no importer takes the node ("": there is none for its type); None if one does."""
        importer = ONNX_IMPORTERS.get(node.op_type)
        if importer is None:
            return ""
        pasts = [name for name in node.inputs if isinstance(self._tensors.get(name), Past)]
        if pasts and node.op_type not in READERS:
            return f"the past {shown(pasts[0])} is read by what puts rows behind it ({', '.join(sorted(READERS))})"
        older = self.opset < OLDEST_OPSET and "::" not in node.op_type
        if older and (changed := _changed_since(node.op_type, self.opset)):
            return f"opset {self.opset} has another {node.op_type} than opset {changed}"
        if unknown := sorted(set(node.attrs) - importer.attributes):
            return f"attribute {shown(unknown[0])} is not supported"
        if importer.most_inputs is not None and len(node.inputs) > importer.most_inputs:
            return f"it takes {importer.most_inputs} inputs at most, not {len(node.inputs)}"
        for place in importer.needs:
            if place >= len(node.inputs) or not node.inputs[place]:
                return f"its input {place + 1} must be there"
        if not (self._wide.isdisjoint(node.inputs) or node.op_type in MOVES | COMPARES):
            wide = next(name for name in node.inputs if name in self._wide)
            return f"operand {shown(wide)} is int64, which is moved, compared and cast, but not computed with"
        others = [name for name in node.outputs[1:] if name in self._used - {""}]
        if others and not importer.several_outputs:
            return f"only the first of its {len(node.outputs)} outputs is supported, but {shown(others[0])} is used"
        named = any(node.outputs) if importer.several_outputs else node.outputs and node.outputs[0]
        return None if named else "it must have a first output"


def _changed_since(op_type: str, opset: int) -> int:
    """The version of the operator that `OLDEST_OPSET` has; 0 if this older opset has the same."""
    now = onnx.defs.get_schema(op_type, OLDEST_OPSET, "").since_version
    return 0 if now == onnx.defs.get_schema(op_type, opset, "").since_version else now


def _shape_of(node: OnnxNode, x: Tensor) -> Constant:
    """What a Shape (of some axes, from opset 15 on) or a Size is: all shapes are known here."""
    if node.op_type == "Size":
        return Constant(np.dtype(np.int64), np.array(math.prod(x.shape), np.int64))
    chosen = x.shape[node.attrs.get("start", 0) : node.attrs.get("end", len(x.shape))]
    return Constant(np.dtype(np.int64), np.array(chosen, np.int64))


def _input_problems(info: onnx.ValueInfoProto, is_taken: bool) -> Iterator[str]:
    """Why an input cannot be taken, to follow its name; `is_taken`: its type can, whatever it is."""
    if not info.type.HasField("tensor_type"):
        yield f" must be a tensor, not a {info.type.WhichOneof('value')}"
        return
    tensor = info.type.tensor_type
    if tensor.elem_type not in ONNX_TYPES and not is_taken:
        types = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
        what_to_do = how_to_bind_value(info) if tensor.elem_type == onnx.TensorProto.INT64 else ""
        yield f" must be {one_of(CODE)}, not {types.get(tensor.elem_type, f'type {tensor.elem_type}')}{what_to_do}"
    for index, dim in enumerate(tensor.shape.dim):
        if not dim.HasField("dim_value"):
            yield how_to_bind(info, index)


def _refuse(refusals: Refusals) -> None:
    supported = textwrap.wrap(f"(supported operators: {', '.join(sorted(ONNX_IMPORTERS))})", 110)
    lines = ["not supported:", *refusals.lines(), *(supported if refusals.of_operators() else ())]
    raise UnsupportedError("\n  ".join(lines))


def _about(node: OnnxNode, message: str) -> str:
    """`message` with the node's name and type before it, unless it begins with them: the graph's own do."""
    known = f"node {shown(node.name)} ({shortened(printable(node.op_type))}"
    place = f" at {printable(node.place)}" * bool(node.place)
    return f"{message}{place}" if message.startswith(f"{known} of ") else f"{known}){place}: {message}"
