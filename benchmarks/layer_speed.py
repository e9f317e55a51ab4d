"""Time of IC, forward and backward, against Keras' BatchNormalization and Dropout on the backend of KERAS_BACKEND.

    python -m benchmarks.layer_speed [--out FILE.jsonl] [--precision mixed_bfloat16] [--rounds 25]

Ten layers in a row, in turns; milliseconds of one, median over the rounds (least, greatest), and the stock layers' time
over each in the same round. JAX compiles all ten; on PyTorch its own layers take part. --out adds what was measured to
a file, one JSON object a line.
"""

import argparse
import json
import math
import pathlib
import time

from training.devices.backend import import_keras

import_keras()

import keras  # noqa: E402

import iclayer  # noqa: E402
from benchmarks import machine  # noqa: E402
from benchmarks.measure import in_turns, ratio, setting, spread  # noqa: E402
from iclayer import fused  # noqa: E402
from training.devices import environment  # noqa: E402

SHAPES = setting(((64, 32, 32, 16), (64, 16, 16, 32), (64, 8, 8, 64)), ((64, 8, 8, 64),))
REPEATS = 10
CONTENDERS = {
    "stock": lambda: [keras.layers.BatchNormalization(), keras.layers.Dropout(0.05)],
    "IC": lambda: [iclayer.IC(0.05)],
    "fused normalization": lambda: [fused.BatchNormalization()],
    "stock normalization": lambda: [keras.layers.BatchNormalization()],
    "fused dropout": lambda: [fused.Dropout(0.05)],
    "Uout": lambda: [iclayer.Uout(0.1)],
    "stock dropout": lambda: [keras.layers.Dropout(0.05)],
}


def on_tensorflow(layers, x, gradient):
    import tensorflow as tf

    variables = [variable.value for layer in layers for variable in layer.trainable_variables]

    @tf.function(autograph=False)
    def run():
        y = x
        with tf.GradientTape() as tape:
            tape.watch(x)
            for layer in REPEATS * layers:
                y = layer(y, training=True)
        return [tf.reduce_sum(part) for part in tape.gradient(y, [x, *variables], gradient)]

    return lambda: run()[0].numpy()


def on_jax(layers, x, gradient):
    import jax

    def outputs(x, trained, others):
        others = list(others)
        for index in REPEATS * [*range(len(layers))]:
            x, others[index] = layers[index].stateless_call(trained[index], others[index], x, training=True)
        return x, others

    @jax.jit
    def run(trained, others):
        _, backward, others = jax.vjp(lambda x, trained: outputs(x, trained, others), x, trained, has_aux=True)
        return [part.sum() for part in jax.tree.leaves(backward(gradient))], others

    trained, others = (
        [[variable.value for variable in getattr(layer, kind)] for layer in layers]
        for kind in ("trainable_variables", "non_trainable_variables")
    )
    return lambda: jax.block_until_ready(run(trained, others))


def on_torch(layers, x, gradient):
    x.requires_grad_()

    def run():
        y = x
        for layer in REPEATS * layers:
            y = layer(y, training=True)
        y.backward(gradient)
        return x.grad.sum().item()

    return run


def native(shape):
    """PyTorch's own layers, called as Keras' are."""
    import torch

    layers = torch.nn.Sequential(torch.nn.BatchNorm2d(shape[-1], 1e-3, 0.01), torch.nn.Dropout(0.05))
    return [lambda x, training: layers(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)]


def timer(layers, shape):
    """A function that does both passes and gives the milliseconds of one layer, called twice already."""
    dtype = keras.config.dtype_policy().compute_dtype
    x, gradient = (keras.ops.cast(keras.random.normal(shape, seed=seed), dtype) for seed in range(2))
    run = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}[keras.backend.backend()](layers, x, gradient)

    def milliseconds():
        begun = time.perf_counter()
        run()
        return (time.perf_counter() - begun) / REPEATS * 1000

    for _ in range(2):
        milliseconds()
    return milliseconds


def timers(shape):
    """Of all contenders."""
    contenders = {name: make() for name, make in CONTENDERS.items()}
    for layers in contenders.values():
        for layer in layers:
            layer.build(shape)
    if keras.backend.backend() == "torch":
        contenders["PyTorch without Keras"] = native(shape)
    return {name: timer(layers, shape) for name, layers in contenders.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=setting(25, 1))
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    keras.config.set_dtype_policy(arguments.precision)
    found, ratios = {}, []
    for shape in SHAPES:
        times = in_turns(timers(shape), arguments.rounds)
        print(f"{shape}, {arguments.precision}: ms, median (least, greatest)")
        for name, values in times.items():
            print(f"{name:20} {spread(values, 3)}, {ratio(times['stock'], values):.2f}x")
        ratios.append(ratio(times["stock"], times["IC"]))
        found[str(shape)] = times
    print(f"IC, geometric mean: {math.prod(ratios) ** (1 / len(ratios)):.2f}x, least {min(ratios):.2f}x")
    if arguments.out:
        kept = ("backend", "commit", "dirty", "packages", "onednn")
        facts = machine.describe() | {key: value for key, value in environment.environment().items() if key in kept}
        with arguments.out.open("a") as file:
            file.write(json.dumps({"machine": facts, "milliseconds": found}) + "\n")


if __name__ == "__main__":
    main()
