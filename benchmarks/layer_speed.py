"""Time of IC, forward and backward, against Keras' BatchNormalization and Dropout, on TensorFlow.

    python benchmarks/layer_speed.py [--out FILE.jsonl] [--precision mixed_bfloat16] [--rounds 9]

Ten layers in a row, in turns; milliseconds of one, median over the rounds (least, greatest), and the stock layers' time
over each in the same round. --out adds them to a file, one JSON object a line.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from training.backend import import_keras

import_keras()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

import iclayer  # noqa: E402
from benchmarks import machine  # noqa: E402
from iclayer import fused  # noqa: E402
from training import environment  # noqa: E402

SHAPES = ((64, 32, 32, 16), (64, 16, 16, 32), (64, 8, 8, 64))
REPEATS = 10
CONTENDERS = {
    "stock": lambda: [keras.layers.BatchNormalization(), keras.layers.Dropout(0.05)],
    "IC": lambda: [iclayer.IC(0.05)],
    "fused normalization": lambda: [fused.BatchNormalization()],
    "stock normalization": lambda: [keras.layers.BatchNormalization()],
    "fused dropout": lambda: [fused.Dropout(0.05)],
    "stock dropout": lambda: [keras.layers.Dropout(0.05)],
}


def training(layers, shape):
    """A compiled function that does the forward and backward passes, called twice already."""
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

    for _ in range(2):
        run()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    keras.config.set_dtype_policy(arguments.precision)
    found, ratios = {}, []
    for shape in SHAPES:
        runs = {name: training(make(), shape) for name, make in CONTENDERS.items()}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                begun = time.perf_counter()
                run()[0].numpy()
                times[name].append((time.perf_counter() - begun) / REPEATS * 1000)
        print(f"{shape}, {arguments.precision}: ms, median (least, greatest)")
        for name, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(times["stock"], values, strict=True))
            ratios += [ratio] if name == "IC" else []
            print(f"{name:20} {statistics.median(values):6.3f} ({min(values):.3f}, {max(values):.3f}), {ratio:.2f}x")
        found[str(shape)] = times
    print(f"IC, geometric mean: {math.prod(ratios) ** (1 / len(ratios)):.2f}x, least {min(ratios):.2f}x")
    if arguments.out:
        kept = ("commit", "dirty", "packages", "onednn")
        facts = machine.describe() | {key: value for key, value in environment.environment().items() if key in kept}
        with arguments.out.open("a") as file:
            file.write(json.dumps({"machine": facts, "milliseconds": found}) + "\n")


if __name__ == "__main__":
    main()
