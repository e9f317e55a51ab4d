"""Wide ResNet, ResNeXt and DenseNet have the parameters, shapes and strides of their papers."""

import keras
import numpy as np
import pytest

import models
from models.grouped import GroupedConv2D

STANDARD = {"use_bias": False}


def parameters(model):
    return sum(np.prod(weight.shape) for weight in model.trainable_weights)


def conv(size, channels, filters, groups=1):
    return size**2 * channels // groups * filters


def norm(channels):
    return 2 * channels


def wide(depth, width):
    """Of bn relu conv, by hand."""
    count, channels = conv(3, 3, 16), 16
    for stage in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            count += norm(channels) + conv(3, channels, stage) + norm(stage) + conv(3, stage, stage)
            count += conv(1, channels, stage) if channels != stage else 0
            channels = stage
    return count + norm(channels) + channels * 10 + 10


def aggregated(depth, cardinality, base_width):
    """Of conv bn relu, by hand."""
    count, channels = conv(3, 3, 64) + norm(64), 64
    for times in (1, 2, 4):
        inner, outer = times * cardinality * base_width, times * 256
        for _ in range((depth - 2) // 9):
            count += conv(1, channels, inner) + conv(3, inner, inner, cardinality) + conv(1, inner, outer)
            count += 2 * norm(inner) + norm(outer)
            count += conv(1, channels, outer) + norm(outer) if channels != outer else 0
            channels = outer
    return count + channels * 10 + 10


def dense(depth, growth, compression, bottleneck):
    """Of bn relu conv, by hand."""
    channels = 2 * growth if bottleneck and compression < 1 else 16
    count = conv(3, 3, channels)
    for stage in range(3):
        for _ in range((depth - 4) // (6 if bottleneck else 3)):
            inner = 4 * growth if bottleneck else channels
            count += norm(channels) + conv(1, channels, inner) + norm(inner) if bottleneck else norm(channels)
            count += conv(3, inner, growth)
            channels += growth
        if stage < 2:
            kept = int(compression * channels)
            count, channels = count + norm(channels) + conv(1, channels, kept), kept
    return count + norm(channels) + channels * 10 + 10


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("build", "by_hand", "published"),
    [
        (lambda: models.wide_resnet(28, 10, "bn-relu-conv", **STANDARD), wide(28, 10), 36_479_194),
        (lambda: models.wide_resnet(40, 4, "wide", **STANDARD), wide(40, 4), 8_949_210),
        (
            lambda: models.resnext(29, 8, 64, "baseline", shortcut="projection-norm", **STANDARD),
            *(aggregated(29, 8, 64), 34_426_698),
        ),
        (lambda: models.densenet(100, 12, 0.5, True, "bn-relu-conv", **STANDARD), dense(100, 12, 0.5, True), 769_162),
        (lambda: models.densenet(40, 12, unit="bn-relu-conv", **STANDARD), dense(40, 12, 1, False), 1_019_722),
    ],
    ids=["WRN-28-10", "WRN-40-4", "ResNeXt-29 8x64d", "DenseNet-BC-100 k=12", "DenseNet-40 k=12"],
)
def test_trainable_parameters_in_the_standard_form(build, by_hand, published):
    assert parameters(build()) == by_hand == published


@pytest.mark.usefixtures("undrawn")
def test_shapes_and_strides():
    sizes = {}
    for model in (models.wide_resnet(16, 4), models.resnext(11, 8, 16), models.densenet(22, 12, 0.5, True)):
        ends = [layer for layer in model.layers if layer.name.endswith(("_add", "_concat"))]
        units = len(ends) // 3
        sizes[model.name] = [layer.output.shape[1:] for layer in ends[units - 1 :: units]]
    assert sizes == {
        "wide_resnet_16_4": [(32, 32, 64), (16, 16, 128), (8, 8, 256)],
        "resnext_11_8x16d": [(32, 32, 256), (16, 16, 512), (8, 8, 1024)],
        "densenet_b_c_22_12": [(32, 32, 24 + 36), (16, 16, 30 + 36), (8, 8, 33 + 36)],
    }
    strided = {
        layer.name: layer.kernel_size
        for model in (models.wide_resnet(16, 4), models.resnext(11, 8, 16))
        for layer in model.layers
        if getattr(layer, "strides", 0) == (2, 2) and "shortcut" not in layer.name
    }
    assert strided == dict.fromkeys(("stage2_unit1_conv1", "stage3_unit1_conv1"), (3, 3)) | dict.fromkeys(
        ("stage2_unit1_conv2", "stage3_unit1_conv2"), (3, 3)
    )
    grouped = [layer for layer in models.resnext(11, 8, 16).layers if isinstance(layer, GroupedConv2D)]
    assert [(layer.groups, layer.filters) for layer in grouped] == [(8, 128), (8, 256), (8, 512)]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("bottleneck", "compression", "filters"), [(False, 1.0, 16), (False, 0.5, 16), (True, 1.0, 16), (True, 0.5, 24)]
)
def test_the_stem_of_a_densenet_has_16_channels_and_of_a_densenet_bc_twice_the_growth_rate(
    bottleneck, compression, filters
):
    model = models.densenet(10, 12, compression, bottleneck)
    assert model.get_layer("stem_conv").filters == filters


@pytest.mark.parametrize(("groups", "strides"), [(1, 1), (2, 1), (3, 2), (6, 2)])
def test_a_conv_group_by_group_is_keras_own(groups, strides):
    x = np.random.default_rng(0).random((2, 5, 6, 6), "float32")
    arguments = {"filters": 12, "kernel_size": 3, "padding": "same", "groups": groups, "strides": strides}
    ours, keras_own = GroupedConv2D(**arguments), keras.layers.Conv2D(**arguments)
    expected = keras_own(x)
    ours.build(x.shape)
    ours.set_weights(keras_own.get_weights())
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (ours(x), expected)), atol=1e-5)


@pytest.mark.parametrize(
    "build",
    [lambda: models.wide_resnet(10, 2), lambda: models.resnext(11, 2, 4), lambda: models.densenet(10, 4, 0.5, True)],
    ids=["wide", "resnext", "densenet"],
)
def test_families_train_save_and_load(build, tmp_path):
    model = build()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.get_weights()
    images = np.random.default_rng(0).random((8, 32, 32, 3), "float32")
    model.fit(images, np.arange(8), batch_size=4, verbose=0)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True) if old.size > 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(each(images)) for each in (model, loaded)))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: models.wide_resnet(18), "`depth`.*6n [+] 4, the nearest are 16 and 22"),
        (lambda: models.resnext(30), "`depth`.*9n [+] 2, the nearest are 29 and 38"),
        (lambda: models.densenet(3), "`depth`.*3n [+] 4 for bottleneck=False, the nearest being 7"),
        (lambda: models.densenet(100, bottleneck=True, compression=0.0), "`compression`.*0.0"),
        (lambda: models.densenet(100, bottleneck=True, growth_rate=0), "`growth_rate`"),
        (lambda: models.wide_resnet(16, 0), "`width`"),
        (lambda: models.wide_resnet(16, shortcut="no"), "`shortcut`"),
        (lambda: models.resnext(29, 0), "`cardinality`"),
        (lambda: models.resnext(29, 8, 0), "`base_width`"),
        (lambda: models.resnext(29, shortcut="no"), "`shortcut`"),
    ],
)
def test_sizes_that_no_network_has_are_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()
