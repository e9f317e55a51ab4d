"""Diagnostics of networks whose answers are known."""

import keras
import numpy as np
import pytest
from diagnosed import COUNT, LOSS, gaussian, network, of

import iclayer
from iclayer import diagnostics, measures
from iclayer.diagnostics import diagnose


def test_independent_inputs_are_found_independent():
    inputs = np.random.default_rng(1).standard_normal((COUNT, 8)).astype(np.float32)
    row = of(diagnose(network(), inputs), "inference")
    assert row["channels"] == 8
    assert row["max_abs_correlation"] < 5 / np.sqrt(COUNT)
    assert row["mean_abs_correlation"] == pytest.approx(np.sqrt(2 / np.pi / COUNT), rel=0.5)
    assert row["mutual_information"] == pytest.approx(row["mutual_information_shuffled"], abs=0.02)
    assert 1 < row["eigenvalue_spread"] < ((1 + np.sqrt(8 / COUNT)) / (1 - np.sqrt(8 / COUNT))) ** 2 * 1.1
    assert row["nonnegative"] == pytest.approx(0.5, abs=0.02)


def test_duplicated_channels_are_found():
    inputs = gaussian(np.eye(4))[:, [0, 1, 2, 3, 0]]
    row = of(diagnose(network(channels=5), inputs), "training")
    assert row["max_abs_correlation"] == pytest.approx(1)
    assert row["eigenvalue_spread"] == np.inf
    assert row["mutual_information"] > 0.2


@pytest.mark.parametrize("mean", [0, 100])
def test_eigenvalues_of_a_rotated_gaussian_are_found(mean):
    eigenvalues = np.array([9.0, 4, 1, 0.5, 0.25, 0.01])
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 6)))[0]
    covariance = rotation * eigenvalues @ rotation.T
    frame = diagnose(network(channels=6), gaussian(covariance) + np.float32(mean), batch_size=300)
    row = of(frame, "inference")
    assert row["eigenvalue_spread"] == pytest.approx(900, rel=1e-3 if mean else 1e-5)
    scale = np.sqrt(np.diag(covariance))
    correlations = np.abs(covariance / np.outer(scale, scale))[~np.eye(6, dtype=bool)]
    assert row["mean_abs_correlation"] == pytest.approx(correlations.mean(), abs=1e-4)
    assert row["max_abs_correlation"] == pytest.approx(correlations.max(), abs=1e-4)


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_mutual_information_of_gaussians_is_found(correlation):
    inputs = gaussian([[1, correlation], [correlation, 1]])
    row = of(diagnose(network(channels=2), inputs, batch_size=1000), "inference")
    assert row["mutual_information"] == pytest.approx(-np.log(1 - correlation**2) / 2, abs=0.08)
    assert row["mutual_information_shuffled"] < 0.05


def test_a_batchs_statistics_are_no_information_between_channels():
    independent = gaussian(np.diag([1.0] * 8))
    frame = diagnose(network(keras.layers.ReLU(), iclayer.IC(0.05, name="ic")), independent, batch_size=100)
    assert "ic/norm" in set(frame["layer"])
    for mode in ("training", "inference"):  # in training a ReLU's zeros become another number in each batch
        row = of(frame, mode)
        assert row["mutual_information"] == pytest.approx(row["mutual_information_shuffled"], abs=0.02)
        assert row["mutual_information"] < 0.05


def test_bfloat16_is_measured_as_float32_is():
    inputs, labels = gaussian(np.eye(8)), np.arange(COUNT) % 3
    frames = []
    for dtype in ("float32", "mixed_bfloat16"):
        model = network(keras.layers.ReLU(dtype=dtype), keras.layers.BatchNormalization(dtype=dtype))
        model.pop()
        model.add(keras.layers.Dense(3, dtype=dtype, name="last"))
        frames.append(diagnose(model, inputs, labels, loss=LOSS).drop(columns=["layer", "kind", "mode", "model"]))
    np.testing.assert_allclose(frames[1], frames[0], rtol=0.1, atol=0.03)


@pytest.mark.parametrize("batch_size", [1, 2, 15, 16, 64])
def test_small_batches_and_a_small_last_one_are_measured(batch_size):
    row = of(diagnose(network(), gaussian(np.eye(8))[:65], batch_size=batch_size), "inference")
    assert row["max_abs_correlation"] < 0.5
    assert np.isnan(row["mutual_information"]) == (batch_size < 16)


def test_an_ic_lowers_correlation_by_p_in_training_only():
    inputs = gaussian([[1, 0.8], [0.8, 1]], 40_000)
    frame = diagnose(network(iclayer.IC(0.25, momentum=0.0), channels=2), inputs, batch_size=40_000)
    assert of(frame, "inference")["max_abs_correlation"] == pytest.approx(0.8, abs=0.02)
    assert of(frame, "training")["max_abs_correlation"] == pytest.approx(0.75 * 0.8, abs=0.02)


def test_a_planted_variance_shift_is_found():
    norm = keras.layers.BatchNormalization(name="norm", epsilon=1e-9)
    model = network(norm, channels=4)
    norm.moving_variance.assign([1.0, 4.0, 0.25, 1.0])
    row = of(diagnose(model, gaussian(np.eye(4))), "inference", "norm")
    assert row["variance_shift"] == pytest.approx((1 + 4 + 4 + 1) / 4, rel=1e-4)


@pytest.mark.parametrize(("kind", "noise"), [(keras.layers.Dropout, "dropout"), (iclayer.Uout, "uout")])
def test_statistics_are_recomputed_with_noise_off_and_put_back(kind, noise):
    norms = [keras.layers.BatchNormalization(name=f"norm{i}") for i in range(2)]
    layers = [kind(0.5), norms[0], iclayer.IC(0.5, noise=noise, name="ic"), norms[1]]
    model = network(*layers, channels=4)
    inputs = gaussian(np.diag([1.0, 4, 9, 16])) + np.float32(3)
    before = [np.array(variable) for variable in model.variables]
    with diagnostics.recomputed_statistics(model, inputs, batch_size=COUNT):
        np.testing.assert_allclose(norms[0].moving_variance, [1, 4, 9, 16], rtol=1e-4)
        np.testing.assert_allclose(norms[0].moving_mean, [3, 3, 3, 3], rtol=1e-4)
        np.testing.assert_allclose(layers[2].norm.moving_variance, 1, atol=0.01)
        np.testing.assert_allclose(norms[1].moving_variance, 1, atol=0.01)
    assert (layers[0].rate, layers[2].dropout.rate) == (0.5, 0.5)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_spoiled_statistics_cost_accuracy_and_recomputed_ones_give_it_back():
    keras.utils.set_random_seed(0)
    norm = keras.layers.BatchNormalization(name="norm", momentum=0.0)
    model = network(norm)
    inputs = gaussian(np.eye(8))
    model(inputs, training=True)  # momentum 0: the statistics are now those of the inputs
    labels = keras.ops.convert_to_numpy(model(inputs)).argmax(-1)
    model.compile(loss=LOSS)
    norm.moving_mean.assign(np.full(8, 30.0))
    accuracy = diagnose(model, inputs, labels).set_index(["kind", "mode"])["accuracy"]["Model"]
    assert accuracy["inference"] < 0.7
    assert accuracy["recomputed"] > 0.99
    others = diagnose(model, inputs, labels, statistics=inputs + 30).set_index(["kind", "mode"])["accuracy"]["Model"]
    assert others["recomputed"] == pytest.approx(accuracy["inference"], abs=0.02)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.norm = keras.layers.BatchNormalization(name="norm")
        # Depthwise: TensorFlow has an ordinary one with channels first on the CPU only where oneDNN is on.
        self.conv = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="conv", data_format="channels_first")
        layers = [keras.layers.Flatten(), iclayer.IC(0.3, name="ic"), keras.layers.Dense(4, name="dense")]
        self.inner = keras.Sequential(layers, name="inner")

    def call(self, inputs, training=None):
        x = self.conv(inputs["a"], training=training) + self.conv(inputs["b"], training=training)
        return self.inner(keras.ops.relu(x), training=training)


def test_a_subclassed_model_of_two_inputs_is_measured_and_left_as_it_was():
    keras.utils.set_random_seed(0)
    model, random = Subclassed(), np.random.default_rng(0)
    images = {name: random.standard_normal((20, 3, 5, 5)).astype(np.float32) for name in "ab"}
    model(images)
    before = [np.array(variable) for variable in model.variables]
    frame = diagnose(model, images, np.arange(20) % 4, loss=LOSS, batch_size=8)
    assert list(frame["layer"]) == [
        "conv",
        "inner/dense",
        "conv",
        "inner/ic/norm",
        "inner/dense",
        "subclassed",
        "subclassed",
    ]
    assert of(frame, "training", "conv")["channels"] == 3
    assert frame["model"].unique() == ["subclassed"]
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert "call" not in vars(model.conv)


class Failing(keras.layers.Layer):
    calls = 0

    def call(self, inputs):
        self.calls += 1
        if self.calls == 4:  # after one to build the model
            raise RuntimeError("out of memory")
        return inputs


def test_a_model_that_fails_half_way_is_left_as_it_was():
    model = network(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), Failing())
    before = [np.array(variable) for variable in model.variables]
    with pytest.raises(RuntimeError, match="out of memory"):
        diagnose(model, gaussian(np.eye(8)))
    assert model.layers[2].calls == 4
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert not any("call" in vars(layer) for layer in model.layers)


def test_a_call_of_a_layers_own_is_called_and_stays():
    model = network(keras.layers.Dense(8, name="first"))
    layer, calls = model.layers[0], []
    layer.call = own = lambda inputs, training: calls.append(len(inputs)) or inputs
    row = of(diagnose(model, gaussian(np.eye(8))[:100], batch_size=50), "inference")
    assert calls == [50] * 4
    assert row["channels"] == 8
    assert layer.call is own


def test_one_seed_draws_the_same_and_constant_channels_are_counted():
    inputs = gaussian(np.eye(8))
    inputs[:, 2] = 5
    frames = [diagnose(network(), inputs, seed=4) for _ in range(2)]
    assert frames[0].equals(frames[1])
    assert (frames[0]["constant"] == 1).all()
    assert np.isfinite(frames[0]["eigenvalue_spread"]).all()


def test_of_very_wide_inputs_some_channels_are_drawn(monkeypatch):
    monkeypatch.setattr(measures, "MOST_CHANNELS", 16)
    row = of(diagnose(network(channels=100), gaussian(np.diag(np.arange(1.0, 101)))), "inference")
    drawn = 1 + np.random.default_rng(0).permutation(100)[:16]
    assert row["channels"] == 100
    assert row["eigenvalue_spread"] == pytest.approx(drawn.max() / drawn.min(), rel=1e-3)


def two_outputs():
    inputs = keras.Input((8,))
    return keras.Model(inputs, {name: keras.layers.Dense(2)(inputs) for name in "ab"})


def of_feature_maps():
    return keras.Sequential([keras.Input((4, 3)), keras.layers.Conv1D(2, 1)])


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"model": "ResNet50"}, "model"),
        ({"model": keras.Sequential([keras.layers.Dense(2)])}, "model"),
        ({"model": keras.Sequential([keras.Input((8,)), keras.layers.ReLU()])}, "model"),
        ({"model": two_outputs()}, "model"),
        ({"images": np.zeros((1, 8))}, "images"),
        ({"images": [np.zeros((4, 8)), np.zeros((5, 8))]}, "images"),
        ({"images": [[0.0] * 8] * 6}, "images"),
        ({"labels": [0, 1]}, "labels"),
        ({"labels": [0, 1, 2, 3, 0, 1], "loss": LOSS}, "labels"),
        ({"labels": [0, 1, 2, -1, 0, 1], "loss": LOSS}, "labels"),
        ({"labels": np.zeros(6), "model": of_feature_maps(), "images": np.zeros((6, 4, 3)), "loss": LOSS}, "model"),
        ({"labels": np.zeros(6)}, "loss"),
        ({"batch_size": 0}, "batch_size"),
        ({"pairs": 1.5}, "pairs"),
    ],
)
def test_arguments_that_are_not_valid_are_named(arguments, argument):
    given = {"model": network(), "images": np.zeros((6, 8), np.float32), **arguments}
    with pytest.raises(ValueError, match=rf"argument `{argument}`\. Expected .* Received: "):
        diagnose(given.pop("model"), given.pop("images"), **given)


def test_two_images_are_enough():
    images = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    assert of(diagnose(network(), images), "inference")["channels"] == 8
