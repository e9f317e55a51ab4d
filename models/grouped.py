"""Convolutions of groups of channels."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="models")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, group by group.

    Keras leaves groups to XLA on TensorFlow, which on a CPU is slower by far than a convolution of all channels.
    """

    def convolution_op(self, inputs, kernel):
        groups = zip(ops.split(inputs, self.groups, axis=-1), ops.split(kernel, self.groups, axis=-1), strict=True)
        return ops.concatenate([super(GroupedConv2D, self).convolution_op(*group) for group in groups], axis=-1)
