"""The zoo's networks are the published ones: as many multiply-accumulates, and to the last one as many parameters."""

from __future__ import annotations

import numpy as np
import pytest

from minisim.compiler.frontend import load_model
from minisim.compiler.graph import Graph
from minisim.compiler.zoo import NETWORKS, load_network
from minisim.errors import ModelError
from minisim.models import macs, models, weights

# G MACs and parameters as torchvision's documentation has them (inception v3 without its auxiliary classifier's
# 3,326,696); MobileNet v1 and the EfficientNet-Lites as their papers and Keras or timm have them; YOLOv3-tiny as the
# bytes of Darknet's file have it, whose normalisation has two more numbers a channel than the others'.
PUBLISHED = {
    "alexnet": (0.71, 61_100_840),
    "densenet121": (2.83, 7_978_856),
    "densenet169": (3.36, 14_149_480),
    "densenet201": (4.29, 20_013_928),
    "mobilenet_v1": (0.57, 4_231_976),
    "mobilenet_v2": (0.30, 3_504_872),
    "mobilenet_v3_large": (0.22, 5_483_032),
    "mobilenet_v3_small": (0.06, 2_542_856),
    "efficientnet_lite0": (0.39, 4_652_008),
    "efficientnet_lite4": (2.55, 13_006_568),
    "inception_v3": (5.71, 27_161_264 - 3_326_696),
    "resnet18": (1.81, 11_689_512),
    "resnet34": (3.66, 21_797_672),
    "resnet50": (4.09, 25_557_032),
    "resnet101": (7.80, 44_549_160),
    "resnet152": (11.51, 60_192_808),
    "resnext50": (4.23, 25_028_904),
    "squeezenet": (0.82, 1_248_424),
    "squeezenet1_1": (0.35, 1_235_496),
    "vgg11": (7.61, 132_863_336),
    "vgg13": (11.31, 133_047_848),
    "vgg16": (15.47, 138_357_544),
    "vgg19": (19.63, 143_667_240),
    "yolov3_tiny": (2.78, 35_434_936 // 4 - 2 * 3184),
}
WITHOUT_NORMALISATION = ("alexnet", "squeezenet", "vgg")


def folded_scales(graph: Graph) -> int:
    """The scales of the normalisations that were folded into convolutions: where one was, its shift is the bias."""
    if graph.name.startswith(WITHOUT_NORMALISATION):
        return 0
    own = (".se.reduce.b", ".se.expand.b", "fc.b", "hidden.b", "small.b", "large.b")  # biases that were there before
    biases = [tensor for name, tensor in graph.tensors.items() if name.endswith(".b") and not name.endswith(own)]
    return sum(tensor.shape[0] for tensor in biases)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_is_the_published_one(name: str) -> None:
    graph, (giga, parameters) = load_network(name), PUBLISHED[name]
    assert round(macs(graph) / 1e9, 2) == giga
    assert weights(graph) + folded_scales(graph) == parameters


def test_every_network_is_listed_once_and_as_it_is() -> None:
    listed = models()
    assert [each.name for each in listed] == list(NETWORKS)
    of = {each.name: each for each in listed}
    assert (
        of["lenet5"].images == (1, 32, 32, 1) and of["lenet5"].weights == 61_706
    )  # LeCun's own has fewer: his c3 is sparse
    assert of["inception_v3"].images == (1, 299, 299, 3)


def test_parameters() -> None:
    graph = load_model("mobilenet_v2:n=8,size=192,width=0.5,classes=10")
    assert graph.tensors["x"].shape == (8, 192, 192, 3)
    assert graph.tensors[graph.outputs["fc"]].shape == (8, 10)
    assert graph.tensors["stem.w"].shape == (3, 3, 3, 16)
    assert graph.tensors["head.w"].shape[-1] == 1280  # as its paper has it


def test_the_same_spec_gives_the_same_weights_and_layers_differ() -> None:
    one, two = load_network("resnet18"), load_network("resnet18:n=2")
    first = one.tensors["layer1.0.conv1.w"].data
    assert first is not None and np.array_equal(first, two.tensors["layer1.0.conv1.w"].data)
    assert not np.array_equal(first, one.tensors["layer1.0.conv2.w"].data)


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_neither_vanish_nor_grow(name: str) -> None:
    """Of a narrow copy on small images."""
    size = {"inception_v3": 96, "lenet5": 32, "alexnet": 96}.get(name, 64)
    graph = load_network(f"{name}:size={size},width=0.125,classes=10")
    x = np.random.default_rng(1).normal(size=graph.tensors["x"].shape)
    for value in graph.evaluate({"x": x}, outputs_only=True).values():
        assert np.isfinite(value).all() and 1e-3 < np.abs(value).max() < 1e3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet50:batch=8", "'batch=8' is no parameter of a network (n=, size=, width=, classes=)"),
        ("resnet50:siz=8", "did you mean 'size'?"),
        ("resnet50:n", "'n' is no parameter"),
        ("resnet50:", "'' is no parameter"),
        ("resnet50:n=0", "n (images in a batch, a whole number from 1) cannot be '0'"),
        ("resnet50:n=1.5", "cannot be '1.5'"),
        ("resnet50:n=1,n=2", "n is given twice"),
        ("resnet50:width=0.0", "width (what the channels of each layer are multiplied by, a number above 0) cannot be"),
        ("resnet50:width=nan", "cannot be 'nan'"),
        (
            "vgg16:size=16",
            "model 'vgg16:size=16': node 'maxpool_4' (MaxPool of relu_12 (1, 1, 1, 512)): the kernel, 2 x 2,",
        ),
        ("vgg16:size=100000", "model 'vgg16:size=100000': tensor 'x': (1, 100000, 100000, 3) would have"),
        ("yolov3_tiny:size=120", "images of this size do not fit the network"),
        ("resnet5O", "did you mean 'resnet50'?"),
        ("resnet5O:n=2", "did you mean 'resnet50'?"),
    ],
)
def test_mistakes(spec: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert message in str(caught.value)
    assert ".py" not in str(caught.value).replace("must end in .py", "")  # nobody's file and line
