"""Forward passes in inference of every unit, on the backend that KERAS_BACKEND names.

    KERAS_BACKEND=jax python tests/training/devices/backend_forward.py WEIGHTS.npz OUTPUTS.npz

The first backend to run draws the weights and writes WEIGHTS.npz; the others read it.
"""

import os
import pathlib
import sys

os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # each network computes once: compiling takes longest

import keras
import numpy as np

import models

NETWORKS = {
    "resnet": lambda unit: models.cifar_resnet(14, unit, shortcut="projection-norm"),
    "resnet_b": lambda unit: models.cifar_resnet(11, unit, bottleneck=True, shortcut="identity-pad"),
    "wide": lambda unit: models.wide_resnet(10, 2, unit),
    "resnext": lambda unit: models.resnext(11, 2, 4, unit),
    "densenet": lambda unit: models.densenet(10, 4, 0.5, True, unit),
    "plain": lambda unit: models.plain("medium", unit, input_shape=(32, 32, 3)),
}


def main(weights_path, outputs_path):
    values = np.random.default_rng(0)
    images = values.normal(size=(4, 32, 32, 3)).astype("float32")
    stored = dict(np.load(weights_path)) if pathlib.Path(weights_path).exists() else {}
    outputs = {}
    for network, build in NETWORKS.items():
        for unit in models.UNITS:
            model, key = build(unit), f"{network} {unit}"
            names = [f"{key} {i}" for i in range(len(model.weights))]
            if names[0] not in stored:
                # statistics, scales and shifts that are not the initial ones; kernels as they are
                stored |= {
                    name: np.asarray(weight)
                    if "kernel" in weight.path
                    else values.uniform(0.5, 1.5, weight.shape).astype("float32")
                    for name, weight in zip(names, model.weights, strict=True)
                }
            model.set_weights([stored[name] for name in names])
            outputs[key] = keras.ops.convert_to_numpy(model(images, training=False))
    if not pathlib.Path(weights_path).exists():
        np.savez(weights_path, **stored)
    np.savez(outputs_path, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
