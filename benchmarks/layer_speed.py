"""Time of IC, forward and backward, against Keras' BatchNormalization and Dropout, on TensorFlow.

    python -m benchmarks.layer_speed [--out FILE.jsonl] [--precision mixed_bfloat16] [--rounds 25]

Ten layers in a row, in turns; milliseconds of one, median over the rounds (least, greatest), and the stock layers' time
over each in the same round. --out adds them to a file, one JSON object a line.
"""

import argparse
import json
import math
import pathlib
import time

from training.devices.backend import import_keras

import_keras()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

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
    "stock dropout": lambda: [keras.layers.Dropout(0.05)],
}


def timer(layers, shape):
    """A function that does both passes and gives the milliseconds of one layer, called twice already."""
    for layer in layers:
        layer.build(shape)
    variables = [variable.value for layer in layers for variable in layer.trainable_variables]
    x, gradient = (tf.cast(tf.random.normal(shape), layers[0].compute_dtype) for _ in range(2))

    @tf.function(autograph=False)
    def run():
        y = x
        with tf.GradientTape() as tape:
            tape.watch(x)
            for layer in REPEATS * layers:
                y = layer(y, training=True)
        return [tf.reduce_sum(part) for part in tape.gradient(y, [x, *variables], gradient)]

    def milliseconds():
        begun = time.perf_counter()
        run()[0].numpy()
        return (time.perf_counter() - begun) / REPEATS * 1000

    for _ in range(2):
        milliseconds()
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=setting(25, 1))
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    keras.config.set_dtype_policy(arguments.precision)
    found, ratios = {}, []
    for shape in SHAPES:
        times = in_turns({name: timer(make(), shape) for name, make in CONTENDERS.items()}, arguments.rounds)
        print(f"{shape}, {arguments.precision}: ms, median (least, greatest)")
        for name, values in times.items():
            print(f"{name:20} {spread(values, 3)}, {ratio(times['stock'], values):.2f}x")
        ratios.append(ratio(times["stock"], times["IC"]))
        found[str(shape)] = times
    print(f"IC, geometric mean: {math.prod(ratios) ** (1 / len(ratios)):.2f}x, least {min(ratios):.2f}x")
    if arguments.out:
        kept = ("commit", "dirty", "packages", "onednn")
        facts = machine.describe() | {key: value for key, value in environment.environment().items() if key in kept}
        with arguments.out.open("a") as file:
            file.write(json.dumps({"machine": facts, "milliseconds": found}) + "\n")


if __name__ == "__main__":
    main()
