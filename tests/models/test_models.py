"""Networks: the operation order, the parameter identity and the names that the paper and DESIGN fix."""

import inspect
import itertools
import math
import re

import keras
import numpy as np
import pytest
from graphs import Graph
from orders import ORDER

import models
from iclayer import IC
from training.config import DEFAULTS, Config, flatten

TABLE_1 = ["baseline", "relu-ic-conv", "ic-conv-relu", "conv-relu-ic"]


def parameters(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("unit", ["relu-ic-conv", "ic-conv-relu"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_ic_stands_right_before_every_weight_layer_but_the_first(unit, bottleneck):
    model = models.cifar_resnet(29 if bottleneck else 20, unit, bottleneck, shortcut="projection-norm")
    built = Graph(model)
    convs = [name for name, kind in built.kind.items() if kind == "conv" and name != "stem_conv"]
    assert len(convs) == (27 + 3 if bottleneck else 18 + 2)
    assert {built.kind[built.parents[name][0]] for name in convs} == {"ic"}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("depth", "bottleneck", "expected"),
    [
        (20, False, None),
        (29, True, None),
        (110, False, 1_734_666),
        (164, False, 2_611_626),
        (110, True, 1_155_370),
        (164, True, 1_715_818),
    ],
)
def test_baseline_and_the_three_units_have_the_same_trainable_parameters(depth, bottleneck, expected):
    counts = {unit: parameters(models.cifar_resnet(depth, unit, bottleneck)) for unit in TABLE_1}
    assert len(set(counts.values())) == 1, counts
    assert expected in (None, counts["baseline"])


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("bottleneck", [False, True])
def test_widths_and_strides(bottleneck):
    model = models.cifar_resnet(29 if bottleneck else 20, "baseline", bottleneck)
    width = 4 if bottleneck else 1
    shapes = [model.get_layer(f"stage{stage}_unit3_add").output.shape[1:] for stage in (1, 2, 3)]
    assert shapes == [(32, 32, 16 * width), (16, 16, 32 * width), (8, 8, 64 * width)]
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.name for layer in convs if layer.strides == (2, 2)} == {
        f"stage{stage}_unit1_{conv}" for stage in (2, 3) for conv in ("conv1", "shortcut_conv")
    }


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "unit", [*ORDER, "relu bn relu conv ic relu | relu ; ic uout conv uout | uout || bn relu pool relu"]
)
def test_names_say_the_place_and_the_operation(unit):
    pattern = re.compile(
        r"image|(stem|head|stage[123]_unit3|stage[123]_unit[12](_shortcut)?)_(conv|bn|dropout|uout|ic|relu|add|pool|dense)"
        r"[12]?(_[2-9])?"
    )
    built = Graph(models.cifar_resnet(20, unit))
    for name, kind in built.kind.items():
        assert pattern.fullmatch(name), name
        if name != "image":
            assert {"+": "add"}.get(kind, kind) in name
    assert "stage1_unit3_conv2" in built.kind


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("shortcut", ["projection", "projection-norm", "identity-pad"])
@pytest.mark.parametrize("unit", TABLE_1)
def test_shortcuts(shortcut, unit):
    model = models.cifar_resnet(14, unit, shortcut=shortcut)
    built = Graph(model)
    kinds, name = [], built.parents["stage2_unit1_add"][0]
    while "shortcut" in name:
        kinds.append(built.kind[name])
        name = built.parents[name][0]
    with_norm = {"baseline": "conv bn", "relu-ic-conv": "ic conv", "ic-conv-relu": "ic conv", "conv-relu-ic": "conv ic"}
    expected = {
        "projection": "conv",
        "projection-norm": with_norm[unit],
        "identity-pad": "AveragePooling2D ZeroPadding2D",
    }
    assert kinds[::-1] == expected[shortcut].split()


def test_identity_pad_subsamples_and_adds_channels_of_zeros():
    model = models.cifar_resnet(8, "conv relu", shortcut="identity-pad")
    before, after = model.get_layer("stage1_unit1_add").output, model.get_layer("stage2_unit1_shortcut_pad").output
    x, y = keras.Model(model.input, [before, after])(np.random.default_rng(0).random((2, 32, 32, 3), "float32"))
    np.testing.assert_array_equal(y[..., :16], np.asarray(x)[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 16:], 0)


def kernels(seed, **arguments):
    keras.utils.set_random_seed(seed)
    model = models.cifar_resnet(14, **arguments)
    return {
        layer.name: np.asarray(layer.kernel) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    } | {"head": np.asarray(model.get_layer("head_dense").kernel)}


def test_initial_kernels_depend_on_seed_and_place_but_not_on_the_unit():
    reference = kernels(1, unit="baseline")
    for unit in models.UNITS:
        for name, kernel in kernels(1, unit=unit).items():
            np.testing.assert_array_equal(kernel, reference[name])
    other = kernels(2, unit="baseline")
    assert all((reference[name] != other[name]).any() for name in reference)
    same_shape = [kernel for kernel in reference.values() if kernel.shape == (3, 3, 16, 16)]
    assert all((a != b).any() for a, b in itertools.combinations(same_shape, 2))


def test_kernels_are_initialized_following_he_et_al_2015():
    kernel = kernels(0, unit="baseline")["stage3_unit2_conv2"]
    assert abs(kernel.std() / np.sqrt(2 / (9 * 64)) - 1) < 0.03


def test_bn_then_dropout_is_ic():
    x = np.random.default_rng(0).random((4, 32, 32, 3), "float32")
    outputs = []
    for unit in ("relu ic conv", "relu bn dropout conv"):
        keras.utils.set_random_seed(0)
        model = models.cifar_resnet(8, unit, rate=0.0)
        outputs.append(np.asarray(model(x, training=True)))
    np.testing.assert_array_equal(*outputs)


@pytest.mark.usefixtures("undrawn")
def test_rate_normalization_and_momentum_reach_every_layer():
    model = models.cifar_resnet(8, "ic conv bn relu dropout", rate=0.3, momentum=0.8, epsilon=1e-4)
    ics = [layer for layer in model.layers if isinstance(layer, IC)]
    bns = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert (len(ics), len(bns), len(dropouts)) == (7, 7, 7)
    assert {layer.rate for layer in ics + dropouts} == {0.3}
    assert {(layer.momentum, layer.epsilon) for layer in ics + bns} == {(0.8, 1e-4)}
    grouped = models.cifar_resnet(8, "baseline", normalization="group")
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in grouped.layers)


def test_bias_and_l2_are_what_the_arguments_say():
    model = models.cifar_resnet(8, l2=2e-3, use_bias=False)
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert all(layer.bias is None for layer in convs)
    expected = sum(2e-3 * float((np.asarray(layer.kernel) ** 2).sum()) for layer in convs)
    model(np.zeros((1, 32, 32, 3)))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert not models.cifar_resnet(8, l2=0.0).losses


@pytest.mark.parametrize(
    ("size", "shape"), list(itertools.product(["small", "medium", "large"], [(28, 28, 1), (32, 32, 3)]))
)
def test_plain_networks_grow_and_give_logits(size, shape):
    model = models.plain(size, input_shape=shape, num_classes=7)
    assert model(np.zeros((2, *shape))).shape == (2, 7)
    sizes = [parameters(models.plain(size, "conv relu")) for size in ("small", "medium", "large")]
    assert sizes == [1_418, 72_442, 481_482]  # LeNet-5 has 61,706


def test_mixed_precision_keeps_logits_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = models.cifar_resnet(8)
    assert model.output.dtype == "float32"
    assert model.get_layer("stage3_unit1_conv2").compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("depth", "bottleneck", "named"),
    [(21, False, "20 and 26"), (109, True, "101 and 110"), (2, False, "8"), (5, False, "8"), (-4, True, "11")],
)
def test_a_depth_that_does_not_exist_names_the_nearest(depth, bottleneck, named):
    with pytest.raises(ValueError, match=rf"`depth`.* {named}\. Received: depth={depth}"):
        models.cifar_resnet(depth, bottleneck=bottleneck)


@pytest.mark.parametrize(
    ("builder", "arguments", "named"),
    [
        (models.cifar_resnet, {"shortcut": "none"}, "`shortcut`.*identity-pad.*'none'"),
        (models.cifar_resnet, {"rate": 1.5}, "`rate`"),
        (models.cifar_resnet, {"normalization": "x"}, "`normalization`"),
        (models.plain, {"size": "huge"}, "`size`.*small, medium, large.*'huge'"),
    ],
)
def test_bad_arguments_are_named(builder, arguments, named):
    with pytest.raises(ValueError, match=named):
        builder(**arguments)


@pytest.mark.parametrize(
    "builder",
    [
        *(models.cifar_resnet, models.plain, models.imagenet_resnet),
        *(models.wide_resnet, models.resnext, models.densenet),
    ],
)
def test_defaults_are_those_of_the_scripts(builder):
    script = "train_imagenet.py" if builder is models.imagenet_resnet else "train_cifar.py"
    scripts = flatten(Config().to_dict()) | DEFAULTS[script]
    given = inspect.signature(builder).parameters.items()
    own = {f"model.{name}": each.default for name, each in given if each.default is not inspect.Parameter.empty}
    shared = own.keys() & scripts.keys()
    assert len(shared) > 7
    assert {key: own[key] for key in shared} == {key: scripts[key] for key in shared}
