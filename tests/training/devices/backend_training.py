"""Eight steps of training on the digits, on the backend that KERAS_BACKEND names: the mean loss after each call.

    KERAS_BACKEND=jax python tests/training/devices/backend_training.py WEIGHTS.npz OUTPUTS.npz

The first backend to run draws the weights and writes WEIGHTS.npz; the others read it.
"""

import pathlib
import sys

from training.data import sources
from training.devices.backend import import_keras

import_keras()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from training import cli, run  # noqa: E402
from training.devices import strategy  # noqa: E402

STEPS = 8
OPTIONS = "--data.name digits --model.depth 8 --model.rate 0"


class Losses(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(float(logs["loss"]))


def train(options, stored, precision="float32"):
    """The losses, and the model; its first weights are those of `stored`, or go there."""
    (one,), _ = cli.load([*OPTIONS.split(), *options.split()])
    one.config.train.precision = precision
    keras.config.set_floatx(precision)
    images = sources.load(one.config.data)
    devices = strategy.start(strategy.choose(one.config.train))
    strategy.check(one.config, images.train_count, devices)
    batches = images.batches(one.config.train.global_batch_size, one.config.seed, one.config.data, devices.part)
    model = run.build(one.config, images, devices)
    for i, weight in enumerate(model.weights):
        weight.assign(stored.setdefault(f"{one.config.model.unit} {i}", keras.ops.convert_to_numpy(weight)))
    losses = Losses()
    stream = devices.share(batches.stream(0, STEPS))
    model.fit(stream, steps_per_epoch=STEPS, callbacks=[losses], verbose=0, shuffle=False)
    return losses.values, model


def main(weights_path, outputs_path):
    stored = dict(np.load(weights_path)) if pathlib.Path(weights_path).exists() else {}
    outputs = {}
    for unit in ("baseline", "relu-ic-conv"):
        for optimizer in ("sgd", "adam"):
            options = f"--model.unit {unit} --train.optimizer {optimizer}"
            outputs[f"{unit} {optimizer}"], _ = train(options, stored)
    if keras.backend.backend() in ("tensorflow", "jax"):  # whose masks are the same
        outputs["dropped sgd"], _ = train("--model.unit relu-ic-conv --model.rate 0.2 --train.optimizer sgd", stored)
    if not pathlib.Path(weights_path).exists():
        np.savez(weights_path, **stored)
    np.savez(outputs_path, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
