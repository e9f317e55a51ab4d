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


FEEDFORWARD = (*WEIGHT_LAYERS, keras.layers.EinsumDense)
MEASURED = (*FEEDFORWARD, keras.layers.RNN)


def channel_axis(layer):
    """The axis of the channels in the input of a weight layer: 1 or -1."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def channel_axes(layer):
    """The axes of the channels in the input of a layer that is measured; the others number positions."""
    if isinstance(layer, keras.layers.EinsumDense):
        inputs, kernel, outputs = _labels(layer)
        first = 0 if inputs.endswith("...") else -len(inputs)  # "..." stands at either end
        return tuple(first + i for i, label in enumerate(inputs) if label in set(kernel) - set(outputs))
    axis = channel_axis(layer)
    return (axis + 1 if isinstance(layer, keras.layers.RNN) and axis == 1 else axis,)  # there 1 is time


def neuron_axes(layer):
    """The axes of a weight layer's first kernel that number neurons; the others number what comes into one."""
    if isinstance(layer, DEPTHWISE):
        return (-2, -1)
    if isinstance(layer, keras.layers.EinsumDense):
        _, kernel, outputs = _labels(layer)
        return tuple(i - len(kernel) for i, label in enumerate(kernel) if label in outputs)
    return (-2,) if isinstance(layer, TRANSPOSED) else (-1,)


def _labels(layer):
    """Those of the input, the kernel and the output in the equation of an EinsumDense."""
    return layer.equation.replace("->", ",").split(",")
