"""Nodes that torch's exporter wrote: what they are called, and the line of the model that they are of."""

from __future__ import annotations

import pytest
from frontend.conftest import Save
from onnx import NodeProto, helper

from minisim.compiler.frontend import load_model
from minisim.compiler.frontend.torch_names import SCOPES, STACK, call_names, innermost_line
from minisim.errors import ModelError, UnsupportedError

STACK_OF_A_LAYER = """File "/home/me/net.py", line 47, in forward
    for layer in self.h: x = layer(x)
  File "/home/me/net.py", line 41, in forward
    x = x + self.attn(x)
  File "/v/lib/python3/site-packages/torch/nn/modules/linear.py", line 134, in forward
    return F.linear(input, self.weight, self.bias)"""


def node(op_type: str, *scopes: str, stack: str = "", inputs: tuple[str, ...] = ("x",), output: str = "y") -> NodeProto:
    proto = helper.make_node(op_type, list(inputs), [output], name=f"node_{op_type}")
    if scopes:
        proto.metadata_props.add(key=SCOPES, value=repr(["", *scopes]))
    if stack:
        proto.metadata_props.add(key=STACK, value=stack)
    return proto


def test_modules_calls_and_what_calls_are_made_of() -> None:
    attention = ("h.0", "h.0.attn", "scaled_dot_product_attention_1")
    nodes = [
        node("MatMul", "h.0", "h.0.mlp.0", "linear"),  # a call of two nodes, of a module that makes no other
        node("Add", "h.0", "h.0.mlp.0", "linear"),
        node("Add", "h.0", "add"),
        node("Add", "h.0", "add_7"),
        node("Reshape", *attention),
        node("Reshape", *attention),
        node("MatMul", *attention),  # neither of the two is what the call is known by
        node("MatMul", *attention),
        node("Mul", "mul"),
        node("Split"),
    ]
    assert call_names(nodes) == [
        "h.0.mlp.0",
        "h.0.mlp.0.Add",
        "h.0.add",
        "h.0.add_7",
        "h.0.attn.Reshape",
        "h.0.attn.Reshape_1",
        "h.0.attn.MatMul",
        "h.0.attn.MatMul_1",
        "mul",
        "",
    ]


def test_a_call_for_short() -> None:
    attn = "h.0.attn"
    nodes = [node("Attention", attn, "scaled_dot_product_attention_1"), node("Transpose", attn, "transpose_2")]
    assert call_names(nodes) == ["h.0.attn.sdpa_1", "h.0.attn.transpose_2"]


def test_a_convolution_with_a_normalisation_inside_is_the_convolution() -> None:
    fused = node("Conv", "layer1", "layer1.bn1", "_native_batch_norm_1", inputs=("x", "layer1.conv1.weight"))
    assert call_names([fused]) == ["layer1.conv1"]


@pytest.mark.parametrize("told", ["", "[", "3", "[]", "['', 3]", "(" * 5000])
def test_scopes_that_are_none(told: str) -> None:
    proto = node("Relu")
    proto.metadata_props.add(key=SCOPES, value=told)
    assert call_names([proto]) == [""]


def test_the_innermost_line_of_the_users() -> None:
    assert innermost_line(STACK_OF_A_LAYER) == "net.py:41"
    assert innermost_line(STACK_OF_A_LAYER.replace("/home/me", "/v/dist-packages")) == ""
    assert innermost_line('File "<string>", line 1, in f') == innermost_line("") == ""


def test_layers_have_these_names_and_two_of_one_name_are_told_apart(save: Save) -> None:
    nodes = [node("Relu", "act", "relu", output="a"), node("Relu", "act", "relu", inputs=("a",), output="b"),
             node("Relu", "act", "relu", inputs=("b",))]  # fmt: skip
    save(nodes)
    assert [n.name for n in load_model("m.onnx").nodes] == ["act.Relu", "act.Relu_1", "act.Relu_2"]
    del nodes[1].metadata_props[:], nodes[2].metadata_props[:]
    nodes[1].name = "act"  # a name of its own, which is taken
    save(nodes)
    assert [n.name for n in load_model("m.onnx").nodes] == ["act", "b", "node_Relu"]


def test_refusals_and_mistakes_say_the_line(save: Save) -> None:
    save([node("Det", "q", "linalg_det", stack=STACK_OF_A_LAYER)], [helper.make_tensor_value_info("x", 1, (2, 2))])
    with pytest.raises(UnsupportedError, match=r"\n  node 'q' at net.py:41 \(Det\)\n"):
        load_model("m.onnx")
    save([node("MatMul", "q", "matmul", stack=STACK_OF_A_LAYER, inputs=("x", "z"))], ["x", "z"])
    with pytest.raises(
        ModelError, match=r"node 'q' \(MatMul of .*inner dimensions must be equal, not 3 and 2 at net.py:41$"
    ):
        load_model("m.onnx")
