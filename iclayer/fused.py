"""Batch normalization and dropout that train with fast kernels on TensorFlow; on other backends they are Keras' own.

Normalization is TensorFlow's fused kernel where Keras composes a chain of passes. A dropout mask takes one random byte
an activation, a quarter of what Keras draws, and stays a byte until the backward pass.
"""

import keras

MOST = 255 / 256  # the highest rate that a byte can say


@keras.saving.register_keras_serializable(package="iclayer")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, with TensorFlow's fused kernel in training where that fits.

    It fits channels_last inputs of rank 2 to 5 without a mask; else this is Keras' own path. Both give the same
    outputs, gradients and moving statistics but for rounding: the moving variance is the batch's divided by n, as Keras
    has it, where the kernel divides by n - 1.
    """

    def fused(self, shape, training, mask=None):
        """Whether the fused kernel does it."""
        last = self.axis in (-1, len(shape) - 1)
        plain = mask is None and not (self.renorm or self.synchronized)
        fits = last and 2 <= len(shape) <= 5 and plain
        return bool(training) and self.trainable and fits and keras.backend.backend() == "tensorflow"

    def call(self, inputs, training=None, mask=None):
        if self.fused(inputs.shape, training, mask):
            return self.normalize(inputs)
        return super().call(inputs, training=training, mask=mask)

    def normalize(self, inputs, gain=1.0):
        """`gain` times what the layer gives in training; updates the moving statistics.

        Args:
            inputs: a tensor that `fused` allows.
            gain: float.

        Returns:
            A tensor of the shape and dtype of `inputs`.
        """
        import tensorflow as tf

        channels, shape = inputs.shape[-1], tf.shape(inputs)
        x = inputs if len(inputs.shape) == 4 else tf.reshape(inputs, [shape[0], -1, 1, channels])
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        if gain != 1:
            gamma, beta = gain * gamma, gain * beta
        unused = tf.zeros([0])
        out, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=gamma, offset=beta, mean=unused, variance=unused, epsilon=self.epsilon, is_training=True
        )
        count = tf.cast(tf.size(x) // channels, tf.float32)
        variance *= (count - 1) / count
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return out if len(inputs.shape) == 4 else tf.reshape(out, shape)


@keras.saving.register_keras_serializable(package="iclayer")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, with cheaper masks on TensorFlow.

    An activation is dropped where a random byte is below a threshold. 256 times the rate is seldom an integer, so each
    unit (each place of an example) draws its threshold in each call from the two integers around it: each activation is
    dropped with probability `rate`, to 1/65,536. The units of an example are independent; two examples of a batch
    share a unit's threshold, a correlation of at most 1 / (262,144 rate (1 - rate)), at rate 0.05 of 0.00005.

    The bits are those of Philox with the layer's seed as the key and its count of calls in the counter.
    """

    def cheap(self, training):
        """Whether a mask of bytes does it."""
        fits = 0 < self.rate <= MOST and self.noise_shape is None
        return bool(training) and fits and keras.backend.backend() == "tensorflow"

    def call(self, inputs, training=False):
        if self.cheap(training):
            return self.drop(inputs, 1 / (1 - self.rate))
        return super().call(inputs, training=training)

    def drop(self, inputs, gain=1.0):
        """`gain` times the activations that stay, and 0 for those that are dropped.

        Args:
            inputs: a tensor of rank 1 or more.
            gain: float.

        Returns:
            A tensor of the shape and dtype of `inputs`.
        """
        import tensorflow as tf

        kept = self.kept(inputs)

        def times_kept(x):
            factor = tf.cast(kept, x.dtype)
            return x * (factor if gain == 1 else factor * tf.cast(gain, x.dtype))

        @tf.custom_gradient
        def masked(x):  # so that a byte an activation waits for the backward pass
            return times_kept(x), times_kept

        return masked(inputs)

    def kept(self, inputs):
        """Bool tensor of the shape of `inputs`: what stays in this call."""
        import tensorflow as tf

        shape = tf.shape(inputs)
        units = inputs.shape[1:].num_elements()
        if units is None:
            units = tf.reduce_prod(shape[1:])
        words = (units + 3) // 4
        seed = tf.bitcast(self.seed_generator.next(), tf.uint64)
        bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[shape[0] + 1, words], key=seed[:1], counter=seed * [0, 1], alg=1, dtype=tf.uint32
        )
        bits = tf.reshape(tf.bitcast(bits, tf.uint8), [shape[0] + 1, -1])
        lower, rest = divmod(round(self.rate * 65536), 256)
        threshold = lower + tf.cast(bits[0] < rest, tf.uint8)
        return tf.reshape((bits[1:] >= threshold)[:, :units], shape)
