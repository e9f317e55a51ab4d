"""IC inserted into networks of KerasHub, of which that is kept where no IC can come before the weights."""

import keras
import numpy as np
import pytest
from inserted import check_rewritten, layers, outputs

import iclayer

hub = pytest.importorskip("keras_hub")

SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
TEXT = SMALL | {"vocabulary_size": 50, "intermediate_dim": 32, "max_sequence_length": 12}


def classifier(backbone):
    """With a dense layer on the mean over positions of what the backbone gives."""
    features = backbone.output["pooled_output"] if isinstance(backbone.output, dict) else backbone.output
    x = keras.ops.mean(features, axis=tuple(range(1, features.ndim - 1)))
    return keras.Model(backbone.input, keras.layers.Dense(4)(x))


def vit():
    backbone = hub.models.ViTBackbone((32, 32, 3), patch_size=8, mlp_dim=32, dropout_rate=0.1, **SMALL)
    return hub.models.ViTImageClassifier(backbone, num_classes=4)


def bert():
    return classifier(hub.models.BertBackbone(**TEXT))


def gpt2():
    return classifier(hub.models.GPT2Backbone(**TEXT))


def resnet():
    stem = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
    stacks = {"stackwise_num_filters": [64, 128], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
    return classifier(hub.models.ResNetBackbone(**stem, **stacks, block_type="basic_block", image_shape=(32, 32, 3)))


def densenet():
    return classifier(hub.models.DenseNetBackbone([2, 2], image_shape=(32, 32, 3), growth_rate=8))


NETWORKS = {  # what is to be kept, and how many ICs come in
    "ViT": (vit, [hub.models.ViTBackbone], 1),
    "BERT": (bert, [hub.layers.PositionEmbedding, hub.layers.TransformerEncoder], 2),
    "GPT-2": (gpt2, [hub.layers.PositionEmbedding, hub.layers.TransformerDecoder], 1),
    "ResNet": (resnet, [], 7),
    "DenseNet": (densenet, [], 11),
}


def values(model):
    """Images, or numbers of words and of segments, and which words are there."""
    draw = np.random.default_rng(0)
    return keras.tree.map_structure(
        lambda each: draw.random((4, *each.shape[1:]), np.float32) if each.ndim > 2 else draw.integers(0, 2, (4, 12)),
        model.input,
    )


@pytest.mark.filterwarnings("ignore:Kept")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gets_ics_where_it_can_and_trains_saves_and_loads(name, tmp_path):
    make, keep, count = NETWORKS[name]
    original = make()
    if keep:
        with pytest.raises(ValueError, match="in layers that `keep` names"):
            iclayer.insert_ic(original)
    model = iclayer.insert_ic(original, rate=0.0, keep=keep)
    assert sum(isinstance(layer, iclayer.IC) for layer in layers(model)) == count
    check_rewritten(model, original, values(original), tmp_path)


@pytest.mark.filterwarnings("ignore:Kept")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_which_all_is_kept_gives_exactly_what_it_gave(name):
    original = NETWORKS[name][0]()
    model = iclayer.insert_ic(original, keep=[keras.layers.Layer])
    assert [type(layer) for layer in model.layers] == [type(layer) for layer in original.layers]
    np.testing.assert_array_equal(outputs(model, values(original)), outputs(original, values(original)))
