"""The optimizers of the scripts."""

import keras

from training.config import TrainConfig
from training.devices import internals


def build(train: TrainConfig, variables: list) -> keras.optimizers.Optimizer:
    """The optimizer of a run (4.2, 4.3), with its variables: TensorFlow traces a step twice that has to make some."""
    rate = train.learning_rate
    optimizer = adam(rate) if train.optimizer == "adam" else keras.optimizers.SGD(rate, momentum=0.9)
    optimizer.build(variables)
    return optimizer


def adam(learning_rate: float) -> keras.optimizers.Adam:
    """`keras.optimizers.Adam`, on TensorFlow by its kernel: one operation for each variable instead of 39.

    What is computed is the same but for rounding. TensorFlow spends most of its start on operations.
    """
    optimizer = keras.optimizers.Adam(learning_rate)
    if keras.backend.backend() != "tensorflow":
        return optimizer
    import tensorflow as tf

    def correct_bias(learning_rate):
        step = tf.cast(optimizer.iterations + 1, tf.float32)
        powers = [tf.pow(beta, step) for beta in (optimizer.beta_1, optimizer.beta_2)]
        decays = [tf.constant(number) for number in (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon)]
        return learning_rate, *powers, *decays

    def update(gradient, variable, scalars):
        m, v = (average.value for average in internals.averages(optimizer, variable))
        lr, beta_1_power, beta_2_power, beta_1, beta_2, epsilon = scalars
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            grad=gradient,
            lr=lr,
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
        )

    internals.hook_updates(optimizer, correct_bias, update)
    return optimizer
