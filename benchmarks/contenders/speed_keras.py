"""A contender of training_speed.py: `models` by the training of train_cifar.py, batches made on the way.

The backend is that of KERAS_BACKEND. Ways: stock, the same network from stock Keras layers, with Keras' optimizer;
baseline, the unit of that name instead; floor, the unit without normalization and dropout; xla, the step compiled;
calls-of-10, ten steps in one call of the device.
"""

import math
import sys
import time

from training.devices.backend import import_keras

import_keras()

import keras  # noqa: E402

from benchmarks.contenders import turns  # noqa: E402
from benchmarks.images import random_images  # noqa: E402
from iclayer import fused  # noqa: E402
from models import UNITS  # noqa: E402
from training import cli, run  # noqa: E402
from training.devices import environment, optimizer  # noqa: E402

TURNS = 1000  # more than anyone takes
OPTIONS = {"xla": "--train.jit_compile true", "calls-of-10": "--train.steps_per_call 10"}


def least_work(model, batch, precision):
    """Operations and bytes that no program can do without in a step: multiplications and additions of the convs, three
    times the forward ones; each conv's output written once and read twice, its gradient written and read once; weights
    and Adam's two averages and the gradients read and written once."""
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    outputs = [batch * math.prod(conv.output.shape[1:]) for conv in convs]
    products = [size * math.prod(conv.kernel.shape[:3]) for size, conv in zip(outputs, convs, strict=True)]
    activation = 4 if precision == "float32" else 2
    return {
        "flops": 3 * 2 * sum(products),
        "bytes": 5 * activation * sum(outputs) + 8 * 4 * parameters(model),
    }


def parameters(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


class Turns(keras.callbacks.Callback):
    """An epoch is a turn; the first one compiles."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted

    def on_epoch_begin(self, epoch, logs=None):
        if epoch and not turns.wait():
            sys.exit()
        self.begun = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.loss = logs["loss"]

    def on_epoch_end(self, epoch, logs=None):
        float(self.loss)  # all is done
        seconds = time.perf_counter() - self.begun
        if epoch:
            turns.done(seconds)
        else:
            described = environment.environment()
            facts = {key: described.get(key) for key in ("packages", "backend", "onednn", "devices")}
            facts |= least_work(self.model, self.wanted.batch, self.wanted.precision)
            turns.ready(parameters=parameters(self.model), first=seconds, **facts)


def unit(wanted):
    """The ordering that is trained."""
    if wanted.way == "baseline":
        return "baseline"
    if wanted.way == "floor":
        return " ".join(word for word in UNITS[wanted.unit].split() if word not in ("bn", "dropout", "ic"))
    return wanted.unit


def main() -> None:
    wanted = turns.options()
    if wanted.way == "stock":
        fused.BatchNormalization.call = keras.layers.BatchNormalization.call  # type: ignore[method-assign]
        fused.Dropout.call = keras.layers.Dropout.call  # type: ignore[method-assign]
        optimizer.build = lambda train, variables: keras.optimizers.Adam(train.learning_rate)
    keys = f"--model.depth {wanted.depth} --model.bottleneck {wanted.bottleneck} --train.precision {wanted.precision}"
    keys += " " + OPTIONS.get(wanted.way, "")
    (one,), _ = cli.load([*keys.split(), "--model.unit", unit(wanted)])
    images = random_images(wanted.steps * wanted.batch)
    model = run.build(one.config, images)
    model.fit(
        images.batches(wanted.batch, 0, one.config.data).stream(0, TURNS * wanted.steps),
        epochs=TURNS,
        steps_per_epoch=wanted.steps,
        shuffle=False,
        callbacks=[Turns(wanted)],
        verbose=0,
    )


if __name__ == "__main__":
    main()
