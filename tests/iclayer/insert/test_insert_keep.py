"""Layers that insert_ic is told to keep as they are."""

import re

import hypothesis
import keras
import numpy as np
import pytest
from graphs import Graph
from hypothesis import strategies as st
from inserted import layers, make_identities, outputs, vision_transformer

import iclayer
from iclayer.weights import WEIGHT_LAYERS

L = keras.layers


def mixed():
    """Weight layers, batch normalizations, layers that are called twice, and a model within."""
    first, relu = keras.Input((8, 8, 4)), L.ReLU(name="relu")
    x = L.BatchNormalization(name="inner_norm")(L.Conv2D(4, 3, name="inner_conv")(relu(first)))
    inner, shared = keras.Model(first, x, name="inner"), L.Conv2D(4, 1, name="shared")
    inputs = keras.Input((8, 8, 3))
    x = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, padding="same", name="conv")(inputs))
    x = inner(shared(relu(shared(x))))
    return keras.Model(inputs, L.Dense(2, name="dense")(L.Flatten()(x)))


KINDS = {
    L.Conv2D: {"conv", "shared", "inner_conv"},
    L.BatchNormalization: {"norm", "inner_norm"},
    L.Dense: {"dense"},
    keras.Model: {"inner"},
}
CHOICES = KINDS | {name: {name} for name in sorted({"relu"}.union(*KINDS.values()))}


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(st.sets(st.sampled_from(list(CHOICES)), min_size=1, max_size=4), st.booleans())
def test_what_is_kept_is_as_it_was_and_named_and_all_else_is_rewritten(keep, replace_norm):
    original = mixed()
    with pytest.warns(UserWarning, match="^Kept as they are, without IC: ") as warned:
        model = iclayer.insert_ic(original, rate=0.0, replace_norm=replace_norm, keep=keep)
    (said,) = (warning for warning in warned if warning.category is UserWarning)
    assert said.filename == __file__
    kept = set().union(*map(CHOICES.get, keep))
    kinds = {layer.name: type(layer).__name__ for layer in (*original.layers, *layers(original))}
    listed = sorted(re.findall(r"'(\w+)' \((\w+)\)", str(said.message)))
    assert listed == sorted((name, kinds[name]) for name in kept)

    kept |= {"inner_conv", "inner_norm"} if "inner" in kept else set()
    for level, before in ((model, original), (model.get_layer("inner"), original.get_layer("inner"))):
        graph = Graph(level)
        for layer in before.layers:
            if isinstance(layer, WEIGHT_LAYERS):
                behind = {graph.kind[parent] for parent in graph.parents[layer.name]}
                assert "ic" not in behind if layer.name in kept else behind == {"ic"}
            if isinstance(layer, L.BatchNormalization):
                assert (layer.name in graph.kind) == (layer.name in kept or not replace_norm)
    if not replace_norm:
        make_identities(model)
        np.testing.assert_allclose(outputs(model), outputs(original), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [mixed, vision_transformer])
def test_a_network_of_which_all_is_kept_gives_exactly_what_it_gave(make):
    original = make()
    with pytest.warns(UserWarning, match="^Kept"):
        model = iclayer.insert_ic(original, keep=[L.Layer])
    assert [type(layer) for layer in layers(model)] == [type(layer) for layer in layers(original)]
    np.testing.assert_array_equal(outputs(model), outputs(original))


def test_a_layer_that_is_refused_says_what_keeps_it():
    refused = r"'token' \(ClassToken\) with token/.* of shape \(1, 1, 12\)$"
    with pytest.raises(ValueError, match=rf"`model`\. Expected .* `keep` names\. Received: layer {refused}"):
        iclayer.insert_ic(vision_transformer())


def test_a_layer_that_holds_weights_of_another_is_refused():
    inputs, shared = keras.Input((6, 4)), L.Dense(4, name="shared")
    model = keras.Model(inputs, L.TimeDistributed(shared, name="each")(shared(inputs)))
    refused = r"layer 'each' \(TimeDistributed\) with shared/kernel of shape \(4, 4\)$"
    with pytest.raises(ValueError, match=rf"`model`\. Expected .* one layer alone holds\. Received: {refused}"):
        iclayer.insert_ic(model, keep=["each"])


@pytest.mark.parametrize(
    ("keep", "expected", "received"),
    [
        (["conv", "missing"], r"names or classes among .*'inner_conv' \(Conv2D\).*'dense' \(Dense\)", "'missing'"),
        ([L.Conv2D, L.LSTM], r"names or classes among .*'dense' \(Dense\)", r"<class '.*\.LSTM'>"),
        ([L.Dense(2, name="dense")], "names or classes among ", "<Dense name=dense"),
        ("conv", "a list, tuple or set", "'conv'"),
        (L.Conv2D, "a list, tuple or set", r"<class '.*\.Conv2D'>"),
    ],
)
def test_what_names_no_layer_is_refused_in_one_line(keep, expected, received):
    with pytest.raises(ValueError, match=rf"argument `keep`\. Expected {expected}.*\. Received: {received}") as refused:
        iclayer.insert_ic(mixed(), keep=keep)
    assert "\n" not in str(refused.value)
