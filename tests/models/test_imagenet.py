"""ResNets for ImageNet have the layers, shapes and parameters of He et al."""

import keras
import numpy as np
import pytest

import models


@pytest.mark.usefixtures("undrawn")
def test_resnet_50_has_the_parameters_and_the_shapes_of_he_et_al():
    model = models.imagenet_resnet(50, "baseline")
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 25_557_032
    sides = {"stem_conv": 112, "stem_pool": 56, "stage1_unit3_add": 56, "stage2_unit4_add": 28}
    sides |= {"stage3_unit6_add": 14, "stage4_unit3_add": 7}
    assert {name: model.get_layer(name).output.shape[1] for name in sides} == sides
    widths = {"stem_conv": 64, "stage1_unit3_add": 256, "stage2_unit4_add": 512, "stage3_unit6_add": 1024}
    widths |= {"stage4_unit3_add": 2048, "head_dense": 1000}
    assert {name: model.get_layer(name).output.shape[-1] for name in widths} == widths


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("depth", [18, 34, 101, 152])
def test_the_other_depths_have_their_weight_layers(depth):
    model = models.imagenet_resnet(depth, "relu-ic-conv", num_classes=10, input_shape=(64, 64, 3))
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    assert len([name for name in names if "shortcut" not in name]) == depth


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("unit", models.UNITS)
def test_units_differ_in_neither_kernels_nor_stages(unit, depth):
    ours, baseline = (models.imagenet_resnet(depth, one, (1, 2, 1, 1), 10, (32, 32, 3)) for one in (unit, "baseline"))
    assert ours.output_shape == (None, 10)
    assert [layer.name for layer in ours.layers if layer.name.endswith("_add")] == (
        [f"stage{stage}_unit{i}_add" for stage, i in ((1, 1), (2, 1), (2, 2), (3, 1), (4, 1))]
    )
    kernels = [
        {weight.path: weight.shape for weight in model.trainable_weights if "kernel" in weight.path}
        for model in (ours, baseline)
    ]
    assert kernels[0] == kernels[1]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"depth": 20}, "depth.*18, 34, 50.*20"),
        ({"stages": (3, 6, 4)}, "stages.*4 stages"),
        ({"shortcut": "x"}, "short"),
    ],
)
def test_arguments_that_no_network_has_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        models.imagenet_resnet(**arguments)
