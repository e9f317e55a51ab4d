"""The predicted variance shift against closed forms, and against networks that train on noise alone."""

import keras
import numpy as np
import pytest

import iclayer
import models
from iclayer import theory
from iclayer.diagnostics import diagnose
from iclayer.internals import layers_within, watched
from iclayer.measures import Moments, positions
from iclayer.shift import predicted_shift

layers = keras.layers
SHAPE = (8, 8, 4)


def images(count=64, dtype="float32"):
    """Of channels that are correlated, and have means."""
    random = np.random.default_rng(0)
    mixed = random.standard_normal((count, *SHAPE)) @ random.standard_normal((4, 4))
    return (mixed + random.standard_normal(4)).astype(dtype)


def network(build, shape=SHAPE):
    """What `build` makes; its batch normalizations have statistics and scales that training leaves as they are."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, build(inputs), name="net")
    random = np.random.default_rng(1)
    for norm in layers_within(model):
        if isinstance(norm, layers.BatchNormalization):
            norm.trainable = False
            for variable in norm.variables:
                variable.assign(random.uniform(0.5, 2, variable.shape))
    return model


def norm(**options):
    return layers.BatchNormalization(epsilon=1e-5, **options)


def dropped(x, rate=0.3):
    return layers.Dropout(rate)(x)


def excess(model, inputs, draws=100):
    """By how much variances at batch normalizations are above those in inference, in training on the same images."""
    norms = [layer for layer in layers_within(model) if isinstance(layer, layers.BatchNormalization)]
    found = {mode: {norm: Moments() for norm in norms} for mode in (True, False)}
    for training, moments in found.items():
        with watched(norms, lambda norm, x, _, of=moments: of[norm].add(positions(x, norm.axis))):
            for _ in range(draws if training else 1):
                model(inputs, training=training)
    return [np.mean(found[True][norm].variance / found[False][norm].variance) - 1 for norm in norms]


EXACT = {
    "dropout": lambda x: norm()(dropped(x)),
    "uout": lambda x: norm()(iclayer.Uout(0.9)(x)),
    "ic with uout": lambda x: norm()(layers.Conv2D(6, 3)(iclayer.IC(0.9, noise="uout")(x))),
    "twice": lambda x: norm()(dropped(dropped(x))),
    "conv": lambda x: norm()(layers.Conv2D(6, 3, padding="same")(dropped(x))),
    "groups": lambda x: norm()(layers.Conv2D(6, 3, strides=2, groups=2)(dropped(x))),
    "dense": lambda x: norm()(layers.Dense(6)(dropped(x))),
    "ic": lambda x: norm()(layers.Conv2D(6, 3)(iclayer.IC(0.3)(x))),
    "first axis": lambda x: norm(axis=1)(norm(axis=1, scale=False)(dropped(x))),
    "scaled": lambda x: norm()(layers.Rescaling([0.5, 1, 2, 3], 1)(norm()(dropped(x)))),
    "add": lambda x: norm()(layers.Add()([dropped(x), dropped(x, 0.1), x])),
    "concatenate": lambda x: norm()(layers.Concatenate()([dropped(x), dropped(x, 0.1), x])),
    "padded": lambda x: norm()(layers.ZeroPadding2D(((0, 1), (2, 1)))(layers.Identity()(dropped(x)))),
    "pooled": lambda x: norm()(layers.AveragePooling2D((2, 3), 2)(dropped(x))),
    "subsampled": lambda x: norm()(layers.AveragePooling2D(1, 2)(dropped(x))),
    "pooled to one": lambda x: norm()(layers.GlobalAveragePooling2D()(dropped(x))),
}


def residual(x):
    for _ in range(2):
        branch = layers.Conv2D(4, 3, padding="same")(iclayer.IC(0.1)(layers.ReLU()(x)))
        branch = layers.Conv2D(4, 3, padding="same")(iclayer.IC(0.1)(layers.Activation("relu")(branch)))
        x = layers.Add()([x, branch])
    return norm()(x)


SHIFTED = {
    *("relu-ic-conv", "ic-conv-relu", "conv-relu-ic", "conv-ic-relu"),
    *("conv-bn-relu-dropout", "conv-dropout-bn-relu", "kim2023", "wide"),
}
APPROXIMATE = {
    "relu": (lambda x: norm()(layers.ReLU()(layers.Conv2D(6, 3)(dropped(x)))), 0.03),
    "relu, conv": (lambda x: norm()(layers.Conv2D(6, 3)(layers.ReLU()(layers.Conv2D(6, 3)(dropped(x))))), 0.25),
    "residual": (residual, 0.1),
}


@pytest.mark.parametrize("build", EXACT.values(), ids=EXACT)
def test_behind_one_weight_layer_it_is_what_training_gives_to_3_percent(build):
    """3 percent of the excess over 1: of sampling, for the prediction is exact."""
    model = network(build)
    predicted = predicted_shift(model, images())
    assert np.array(list(predicted.values())) - 1 == pytest.approx(excess(model, images()), rel=0.03, abs=1e-3)


@pytest.mark.parametrize(("build", "bound"), APPROXIMATE.values(), ids=APPROXIMATE)
def test_behind_relu_and_weight_layers_it_is_near_what_training_gives(build, bound):
    """Within a share of the excess over 1, at rates of 0.1 and 0.3: noise is neither Gaussian nor independent there."""
    model = network(build)
    predicted = predicted_shift(model, images())
    assert np.array(list(predicted.values())) - 1 == pytest.approx(excess(model, images()), rel=bound, abs=1e-3)


def test_right_behind_dropout_it_is_the_closed_form():
    inputs = images()
    found = predicted_shift(network(lambda x: norm(name="norm")(dropped(x))), inputs)
    s = theory.dropout_noise(0.7)
    channels = inputs.reshape(-1, SHAPE[-1]).T
    expected = [1 / theory.variance_ratio(channel.mean(), channel.var(), s) for channel in channels]
    assert found == {"norm": pytest.approx(np.mean(expected), rel=1e-4)}


@pytest.mark.parametrize("options", [{"padding": "same"}, {"strides": 2}, {"groups": 2, "padding": "same"}], ids=str)
def test_behind_a_conv_it_is_the_closed_form(options):
    conv = layers.Conv2D(6, 3, **options)
    inputs = images()
    found = predicted_shift(network(lambda x: norm(name="norm")(conv(dropped(x)))), inputs)
    kernel, whole = keras.ops.convert_to_numpy(conv.kernel), np.zeros((3, 3, 4, 6))
    groups = options.get("groups", 1)
    for group in range(groups):
        filters = slice(6 // groups * group, 6 // groups * (group + 1))
        whole[:, :, 4 // groups * group : 4 // groups * (group + 1), filters] = kernel[..., filters]
    patches = keras.ops.image.extract_patches(inputs, 3, options.get("strides", 1), padding=conv.padding)
    patches = keras.ops.convert_to_numpy(patches).reshape(-1, 36)
    moments = patches.mean(0), np.cov(patches.T, bias=True)
    s = theory.dropout_noise(0.7)
    ratios = [theory.weighted_variance_ratio(weights, *moments, s) for weights in whole.reshape(36, 6).T]
    assert found == {"norm": pytest.approx(np.mean(1 / np.array(ratios)), rel=1e-4)}


@pytest.mark.parametrize("unit", models.UNITS)
def test_normalizations_of_every_ordering_are_named_as_diagnose_names_them_and_shift_where_dropout_is_before(unit):
    model = models.cifar_resnet(8, unit, input_shape=SHAPE, rate=0.2, shortcut="identity-pad")
    found = predicted_shift(model, images(8))
    frame = diagnose(model, images(8), pairs=1)
    assert list(found) == list(frame.loc[frame["variance_shift"].notna(), "layer"])
    *most, last = found.values() or [1]
    assert (last > 1.1) == (unit in SHIFTED)
    assert (unit in SHIFTED) or most == pytest.approx([1] * len(most), abs=1e-4)


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.wide_resnet(10, 2, "wide", input_shape=SHAPE, rate=0.2),
        lambda: models.resnext(11, 2, 4, "kim2023", input_shape=SHAPE, rate=0.2),
        lambda: models.densenet(10, 4, 0.5, True, "bn relu uout conv", input_shape=(7, 9, 4), rate=0.9),
    ],
    ids=["wide", "resnext", "densenet"],
)
def test_other_families_shift_too(build):
    model = build()
    inputs = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:]))
    found = predicted_shift(model, inputs)
    assert list(found) == [layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert 1.02 < list(found.values())[-1] < 10


def test_batches_make_no_difference_and_the_model_stays_as_it_was():
    model, inputs = network(residual), images(10)
    before = [np.array(variable) for variable in model.variables]
    found = [predicted_shift(model, inputs, batch_size) for batch_size in (3, 10)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_bfloat16_is_near_float32():
    found = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        found.append(list(predicted_shift(network(residual), images()).values()))
    np.testing.assert_allclose(found[1], found[0], rtol=0.02)


def test_without_batch_normalization_nothing_shifts_whatever_the_layers():
    assert predicted_shift(network(lambda x: layers.LayerNormalization()(layers.LeakyReLU()(x))), images()) == {}


def other(layer):
    """A network with a layer that nothing is known of."""
    return network(lambda x: norm()(layer(x)))


@pytest.mark.parametrize(
    ("arguments", "argument", "named"),
    [
        ({"model": keras.Sequential([keras.Input(SHAPE), norm()])}, "model", "Sequential"),
        ({"model": other(layers.LayerNormalization(name="odd"))}, "model", "layer 'odd' .LayerNormalization"),
        ({"model": other(layers.SpatialDropout2D(0.5, name="odd"))}, "model", "'odd'"),
        ({"model": other(layers.Dropout(0.5, noise_shape=(None, 1, 1, 4), name="odd"))}, "model", "'odd'"),
        ({"model": other(layers.ReLU(negative_slope=0.1, name="odd"))}, "model", "'odd'"),
        ({"model": other(layers.Activation("tanh", name="odd"))}, "model", "'odd'"),
        ({"model": other(layers.Conv2D(4, 3, activation="relu", name="odd"))}, "model", "'odd'"),
        ({"model": other(layers.AveragePooling2D(2, padding="same", name="odd"))}, "model", "'odd'"),
        ({"model": other(lambda x: x * x)}, "model", "Multiply"),
        ({"images": images()[:0]}, "images", "shape"),
        ({"batch_size": 0}, "batch_size", "0"),
    ],
)
def test_arguments_that_are_not_valid_are_named(arguments, argument, named):
    given = {"model": network(residual), "images": images(), **arguments}
    with pytest.raises(ValueError, match=rf"argument `{argument}`\. Expected .* Received: .*{named}"):
        predicted_shift(**given)
