"""The weight layers of Keras, and the axes of what they multiply."""

import keras

TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
DEPTHWISE = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
WEIGHT_LAYERS = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    *TRANSPOSED,
    *DEPTHWISE,
)


def channel_axis(layer):
    """The axis of the channels in the input of a weight layer: 1 or -1."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def neuron_axes(layer):
    """The axes of a weight layer's first kernel that number neurons; the others number what comes into one."""
    if isinstance(layer, DEPTHWISE):
        return (-2, -1)
    return (-2,) if isinstance(layer, TRANSPOSED) else (-1,)
