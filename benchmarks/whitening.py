"""Cost of whitening against that of IC (section 1: IC stands for it at a fraction of its cost), on TensorFlow.

    python -m benchmarks.whitening [--out FOLDER]

Forward and backward pass of one layer on (64, 8, 8, channels), in turns: milliseconds, median (least, greatest).
"""

import argparse
import json
import pathlib
import statistics
import time

from training.devices.backend import import_keras, onednn

import_keras()

import keras  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
import tensorflow as tf  # noqa: E402

import iclayer  # noqa: E402
from benchmarks import machine  # noqa: E402
from benchmarks.measure import in_turns, ratio, setting, spread  # noqa: E402

CHANNELS = setting((16, 32, 64, 128, 256, 512, 1024), (16, 32))
ROUNDS = setting(5, 1)


class ZCAWhitening(keras.layers.Layer):
    """Zero-phase component whitening by the batch's covariance, in training; there are no moving statistics.

    Args:
        method: "eigen", by the eigenvectors of the covariance; or "newton-schulz", by five steps of that iteration for
            its inverse square root (Huang et al. 2019, Iterative Normalization, section 3).
        epsilon: float, added to the variances.

    Call arguments:
        inputs: a float tensor (..., channels), its channels last.

    Returns:
        A tensor of the shape of `inputs`; its channels are uncorrelated and of variance 1.
    """

    def __init__(self, method="eigen", epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.method = method
        self.epsilon = epsilon

    def call(self, inputs):
        channels = inputs.shape[-1]
        x = tf.reshape(inputs, [-1, channels])
        x -= tf.reduce_mean(x, axis=0)
        identity = tf.eye(channels)
        covariance = tf.matmul(x, x, transpose_a=True) / tf.cast(tf.shape(x)[0], x.dtype) + self.epsilon * identity
        if self.method == "eigen":
            values, vectors = tf.linalg.eigh(covariance)
            root = tf.matmul(vectors * tf.math.rsqrt(values), vectors, transpose_b=True)
        else:
            trace = tf.linalg.trace(covariance)
            root = identity
            for _ in range(5):
                root = 1.5 * root - 0.5 * root @ root @ root @ (covariance / trace)
            root *= tf.math.rsqrt(trace)
        return tf.reshape(x @ root, tf.shape(inputs))


LAYERS = {
    "ZCA, eigenvectors": lambda: ZCAWhitening("eigen"),
    "ZCA, Newton-Schulz": lambda: ZCAWhitening("newton-schulz"),
    "stock normalization and dropout": lambda: keras.Sequential(
        [keras.layers.BatchNormalization(), keras.layers.Dropout(0.05)]
    ),
    "IC": lambda: iclayer.IC(0.05),
}


def timer(layer, shape):
    """A function that does both passes and gives the milliseconds, called twice already."""
    x, gradient = tf.random.normal(shape), tf.random.normal(shape)
    layer.build(shape)
    training = {} if isinstance(layer, ZCAWhitening) else {"training": True}

    @tf.function(autograph=False)
    def passes():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **training)
        return tf.reduce_sum(tape.gradient(y, x, gradient))

    def milliseconds():
        begun = time.perf_counter()
        passes().numpy()
        return 1000 * (time.perf_counter() - begun)

    for _ in range(2):
        milliseconds()
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="folder for whitening.json and whitening.png")
    arguments = parser.parse_args()
    found: dict[str, dict[int, list[float]]] = {name: {} for name in LAYERS}
    for channels in CHANNELS:
        times = in_turns({name: timer(make(), (64, 8, 8, channels)) for name, make in LAYERS.items()}, ROUNDS)
        for name, values in times.items():
            found[name][channels] = values
            print(f"{channels:5} {name:32} {spread(values, 2)} ms, {ratio(values, times['IC']):.1f}x IC")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        record = {"machine": machine.describe() | {"onednn": onednn()}, "milliseconds": found}
        (arguments.out / "whitening.json").write_text(json.dumps(record, indent=1) + "\n")
        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        for name, values_of in found.items():
            axes.plot(CHANNELS, [statistics.median(values_of[each]) for each in CHANNELS], marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel="channels", ylabel="forward and backward, ms")
        axes.set_xticks(CHANNELS, map(str, CHANNELS))
        axes.minorticks_off()
        axes.legend()
        figure.savefig(arguments.out / "whitening.png", dpi=150)


if __name__ == "__main__":
    main()
