"""One device and two, one step a call and two, on JAX: losses, final variables, what dropout leaves on each device, and
IC's compiled program.

All in float64: the order in which float32 is summed differs from one compilation to the next, and on some processors
eight steps make 2e-4 of it.

    KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count=2 \
        python tests/training/devices/backend_devices.py - OUTPUTS.npz
"""

import sys

import jax
import keras
import numpy as np
from backend_training import train

import iclayer
from training.devices import strategy

WAYS = {
    "one": "",
    "two": "--train.strategy mirrored",
    "one, two steps a call": "--train.steps_per_call 2",
    "two, two steps a call": "--train.strategy mirrored --train.steps_per_call 2",
}


def on_two_devices(layer, x):
    """The parts that the devices have of the slope of half the squared outputs by `x`, and its compiled program."""
    layer.build(x.shape)
    x = keras.distribution.distribute_tensor(x, keras.distribution.distribution().get_data_layout(x.shape))
    trained, others = (
        [variable.value for variable in variables]
        for variables in (layer.trainable_variables, layer.non_trainable_variables)
    )

    def half_the_square(x):
        return (layer.stateless_call(trained, others, x, training=True)[0] ** 2).sum() / 2

    slope = jax.jit(jax.grad(half_the_square))
    return [np.asarray(part.data) for part in slope(x).addressable_shards], slope.lower(x).compile().as_text()


def flat(variables):
    return np.concatenate([np.ravel(variable) for variable in variables])


def main(_, outputs_path):
    jax.config.update("jax_enable_x64", True)
    first, outputs = {}, {}
    for way, options in WAYS.items():
        losses, model = train(f"--train.optimizer sgd --train.learning_rate 0.01 {options}", first, "float64")
        outputs[f"{way}: losses"] = losses
        outputs[f"{way}: weights"] = flat(model.trainable_weights)
        outputs[f"{way}: statistics"] = flat(model.non_trainable_weights)
        outputs[f"{way}: devices"] = len(model.weights[0].value.sharding.device_set)
    for kind, wanted in (("weights", True), ("statistics", False)):
        pairs = zip(model.weights, first.values(), strict=True)
        outputs[f"first {kind}"] = flat([value for weight, value in pairs if weight.trainable == wanted])
    x = np.ones((2, 1000), "float32")
    outputs["left on one device"] = iclayer.IC(0.5, normalization="none", seed=0)(x, training=True)
    strategy.distribute(strategy.start("mirrored"))
    outputs["left on two"], _ = on_two_devices(iclayer.IC(0.5, normalization="none", seed=0), x)
    _, outputs["program"] = on_two_devices(iclayer.IC(0.5, seed=0), x)
    np.savez(outputs_path, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
