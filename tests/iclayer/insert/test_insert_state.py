"""What a copy with ICs keeps beside weights: adapted statistics, vocabularies, random states, what layers save."""

import pathlib

import keras
import numpy as np
import pytest
from inserted import make_identities, with_layer

import iclayer

L = keras.layers


class Offset(L.Layer):
    """Saves a number that is no variable."""

    number = 0.0

    def call(self, inputs):
        return inputs + self.number

    def save_own_variables(self, store):
        store["number"] = np.float32(self.number)

    def load_own_variables(self, store):
        self.number = float(store["number"][()])


class Replaced(L.Layer):
    """Saves a file."""

    text = ""

    def call(self, inputs):
        return inputs * len(self.text)

    def save_assets(self, folder):
        (pathlib.Path(folder) / "text").write_text(self.text)

    def load_assets(self, folder):
        self.text = (pathlib.Path(folder) / "text").read_text()


class Standardized(L.Layer):
    """Has no `build`: Keras builds the layer within when it is called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = L.Normalization()

    def call(self, inputs):
        return self.norm(inputs)


def having(layer, **attributes):
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


def adapted(layer, data, within=lambda layer: layer):
    within(layer).adapt(data)
    return layer


NUMBERS = np.random.default_rng(0).normal(2, 3, (50, 3)).astype("float32")
WHOLE = np.array([[3], [5], [5], [9]])
WORDS = np.array([["a"], ["b"], ["b"], ["c"]])
TEXTS = np.array(["a b", "b c b", "d"])
PHOTOGRAPHS = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
PREPROCESSING = {
    "Normalization": (lambda: adapted(L.Normalization(), NUMBERS), NUMBERS),
    "Normalization, inverted": (lambda: adapted(L.Normalization(invert=True), NUMBERS), NUMBERS),
    "Normalization, given": (lambda: L.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]), NUMBERS),
    "Discretization": (lambda: adapted(L.Discretization(num_bins=4), NUMBERS[:, :1]), NUMBERS[:, :1]),
    "Discretization, one-hot": (
        lambda: adapted(L.Discretization(num_bins=4, output_mode="one_hot"), NUMBERS[:, :1]),
        NUMBERS[:, :1],
    ),
    "Discretization, given": (lambda: L.Discretization([0.0, 1.0]), NUMBERS[:, :1]),
    "CategoryEncoding": (lambda: L.CategoryEncoding(10), WHOLE),
    "Hashing": (lambda: L.Hashing(5, salt=3), WORDS),
    "IntegerLookup": (lambda: adapted(L.IntegerLookup(), WHOLE), WHOLE),
    "StringLookup": (lambda: adapted(L.StringLookup(), WORDS), WORDS),
    "StringLookup, multi-hot": (lambda: adapted(L.StringLookup(output_mode="multi_hot"), WORDS), WORDS),
    "StringLookup, tf-idf": (lambda: adapted(L.StringLookup(output_mode="tf_idf"), WORDS), WORDS),
    "StringLookup, given": (lambda: L.StringLookup(vocabulary=["b", "a"], output_mode="multi_hot"), WORDS),
    "TextVectorization": (lambda: adapted(L.TextVectorization(), TEXTS), TEXTS),
    "TextVectorization, tf-idf": (lambda: adapted(L.TextVectorization(output_mode="tf_idf"), TEXTS), TEXTS),
    "Rescaling": (lambda: L.Rescaling([1.0, 2.0, 3.0], -1.0), PHOTOGRAPHS),
    "Resizing": (lambda: L.Resizing(4, 5), PHOTOGRAPHS),
    "CenterCrop": (lambda: L.CenterCrop(4, 5), PHOTOGRAPHS),
    "STFTSpectrogram": (lambda: L.STFTSpectrogram(frame_length=16, frame_step=8, fft_length=16), NUMBERS.T[..., None]),
    "within TimeDistributed": (
        lambda: L.TimeDistributed(adapted(L.Normalization(), PHOTOGRAPHS[0])),
        PHOTOGRAPHS,
    ),
    "within Pipeline": (lambda: L.Pipeline([L.Rescaling(2.0), adapted(L.Normalization(), NUMBERS)]), NUMBERS),
    "within one's own": (lambda: adapted(Standardized(), NUMBERS, lambda layer: layer.norm), NUMBERS),
    "one's own": (lambda: having(Offset(), number=3.0), NUMBERS),
    "one's own, with a file": (lambda: having(Replaced(), text="abc"), NUMBERS),
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", PREPROCESSING)
def test_layers_keep_state_that_is_no_weight(name):
    make, data = PREPROCESSING[name]
    original = with_layer(make(), data.shape[1:], "string" if data.dtype.kind == "U" else data.dtype.name)
    if "float" in original.output.dtype:  # an IC needs to know how many channels the layer gives
        original = keras.Model(original.input, [original.output, L.Dense(2)(original.output)])
    model = iclayer.insert_ic(original, rate=0.0)
    make_identities(model)
    data = keras.ops.convert_to_tensor(data)
    results = (keras.tree.flatten(each(data, training=False)) for each in (model, original))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (found, expected)), rtol=1e-5)


class Noise(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generators = [keras.random.SeedGenerator(3)]

    def call(self, inputs):
        return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.generators[0])


RANDOM = {
    "Dropout": lambda: L.Dropout(0.5, seed=1),  # on PyTorch, no other has a state
    "SpatialDropout2D": lambda: L.SpatialDropout2D(0.5),
    "AlphaDropout": lambda: L.AlphaDropout(0.5),
    "GaussianDropout": lambda: L.GaussianDropout(0.5),
    "GaussianNoise": lambda: L.GaussianNoise(0.5),
    "RandomTranslation": lambda: L.RandomTranslation(0.5, 0.5),
    "IC": lambda: iclayer.IC(0.5, seed=1),
    "one's own": Noise,
}


class Attended(L.Layer):
    """Builds itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = L.MultiHeadAttention(2, 3, dropout=0.5, seed=1)
        self.dense = L.Dense(3)
        self.build((None, 8, 8, 3))

    def build(self, input_shape):
        self.attention.build(input_shape, input_shape)
        self.dense.build(input_shape)

    def call(self, inputs):
        return self.dense(self.attention(inputs, inputs))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Is built when it is called, with two arguments."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.noise = L.Dense(3), Noise()

    def call(self, first, inputs):
        return self.noise(self.dense(first) - inputs)


def frozen():
    """In part."""
    layer = Attended()
    layer.dense.trainable = False
    return layer


def within():
    """A model that was trained, in one with another layer."""
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Dropout(0.5, seed=1), L.BatchNormalization(), L.Dense(2)])
    model.compile("adam", "mse")
    model.fit(PHOTOGRAPHS, np.zeros((2, 8, 8, 2)), verbose=0)
    return model


KEPT = {
    "attention, frozen in part": frozen,
    "recurrent": lambda: L.ConvLSTM1D(2, 3, dropout=0.5, seed=1),
    "model": within,
    "model of one's own": lambda: lambda inputs: Subclassed()(first=L.Rescaling(2.0)(inputs), inputs=inputs),
}


@pytest.mark.filterwarnings("ignore:Kept")
@pytest.mark.parametrize("name", [*RANDOM, *KEPT])
def test_random_layers_go_on_as_they_would_have(name):
    keras.utils.set_random_seed(0)
    original = with_layer((RANDOM | KEPT)[name](), PHOTOGRAPHS.shape[1:])
    original(PHOTOGRAPHS, training=True)
    model = iclayer.insert_ic(original, keep=[L.Layer] if name in KEPT else ())
    assert [type(layer) for layer in model.layers] == [type(layer) for layer in original.layers]
    assert len(model.trainable_weights) == len(original.trainable_weights)
    drawn = [[keras.ops.convert_to_numpy(each(PHOTOGRAPHS, training=True)) for _ in "12"] for each in (original, model)]
    np.testing.assert_array_equal(*drawn)
    assert np.any(drawn[0][0] != drawn[0][1])
