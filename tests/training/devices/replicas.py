"""What several replicas compute, and one: run by test_distribute.py, a process for each worker.

    python tests/training/devices/replicas.py none|mirrored|multi_worker OUTPUTS.npz

Under mirrored there are two virtual CPU devices. Each process writes its outputs, with its number in the name.
"""

import pathlib
import sys

from training.devices.backend import import_keras

import_keras()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from two_devices import two_cpus  # noqa: E402

import iclayer  # noqa: E402
from iclayer.internals import layers_within  # noqa: E402
from iclayer.layer import NOISES  # noqa: E402
from training import cli, export, run  # noqa: E402
from training.data.images import ImageSet  # noqa: E402
from training.devices import strategy  # noqa: E402

STEPS = 8
OPTIONS = "--train.optimizer sgd --train.global_batch_size 8 --train.learning_rate 0.01"
NETWORKS = {
    "cifar": "--model.depth 8 --model.momentum 0.9 --model.rate",
    "imagenet": "--model.depth 18 --train.learning_rate 0.0001 --model.rate",
}
SCRIPTS = {"cifar": "train_cifar.py", "imagenet": "train_imagenet.py"}


class Bytes(ImageSet):
    """Images as photographs come: uint8."""

    def normalize(self, images):
        return images


def image_set(kind, tests):
    values = np.random.default_rng(0)
    images = values.integers(0, 256, (8 * STEPS, 32, 32, 3), np.uint8)
    labels = (images.mean(axis=(1, 2, 3)) > 127.5).astype(np.int32)
    return kind("cifar10", images, labels, images[:tests], labels[:tests], tuple("0123456789"))


def flat(variables):
    return np.concatenate([np.ravel(variable) for variable in variables])


def train(network, rate, devices, synchronized):
    """A model after an epoch of STEPS steps, and the history."""
    images = image_set(Bytes if network == "imagenet" else ImageSet, tests=37)
    options = f"{OPTIONS} {NETWORKS[network]} {rate}"
    (one,), _ = cli.load(options.split(), SCRIPTS[network])
    model = run.build(one.config, images, devices)
    for layer in layers_within(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized
    first = flat(model.trainable_variables)
    batches = images.batches(8, one.config.seed, one.config.data, devices.part)
    test_batch = devices.test_batch(images.test_count)
    history = model.fit(
        devices.share(batches.stream(0, batches.steps_per_epoch)),
        steps_per_epoch=batches.steps_per_epoch,
        validation_data=devices.share(batches.validation(test_batch)),
        validation_steps=-(-images.test_count // test_batch),
        callbacks=[iclayer.AverageStatistics()],
        shuffle=False,
        verbose=0,
    )
    return model, history.history | {"moved": np.abs(flat(model.trainable_variables) - first).max()}


def made_of_ones(noise, devices):
    """What noise makes of 1,000 ones on each replica of this process, in two calls."""
    with devices.scope():
        layer = iclayer.IC(0.5, normalization="none", noise=noise, seed=0)
        layer.build((1, 1000))
    call = tf.function(lambda: layer(tf.ones((1, 1000)), training=True))
    if not devices.distribution:
        return np.stack([call().numpy() for _ in range(2)])
    found = [devices.distribution.experimental_local_results(devices.distribution.run(call)) for _ in range(2)]
    return np.stack([np.concatenate(parts) for parts in found])


def local(devices, variables):
    """The values of variables on each replica of this process, (replicas, all values)."""
    if not devices.distribution:
        return flat(variables)[None]
    values = [devices.distribution.experimental_local_results(variable.value) for variable in variables]
    return np.stack([flat(of_replica) for of_replica in zip(*values, strict=True)])


def apart_and_averaged(devices):
    """Moving statistics of each replica of this process before and after their average, (2, replicas, values)."""
    with devices.scope():
        model = keras.Sequential([keras.Input((4,)), iclayer.IC(momentum=0.9)])

    def call():
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
        return model(tf.reshape(tf.range(32.0) ** (1 + replica), (8, 4)), training=True)

    run_all = tf.function(call if not devices.distribution else lambda: devices.distribution.run(call))
    run_all()
    before = local(devices, statistics(model))
    callback = iclayer.AverageStatistics()
    callback.set_model(model)
    callback.average()
    return np.stack([before, local(devices, statistics(model))])


def statistics(model):
    return [variable for variable in model.non_trainable_variables if "moving" in variable.path]


def main(kind, outputs_path):
    if kind == "mirrored":
        two_cpus()
    devices = strategy.start(kind)
    outputs = {"replicas": devices.replicas}
    for name in NETWORKS:
        model, history = train(name, 0.0, devices, synchronized=True)
        outputs |= {f"{name} loss": history["loss"], f"{name} weights": flat(model.trainable_variables)}
        outputs |= {f"{name} statistics": flat(statistics(model)), f"{name} tests": history["val_accuracy"]}
        outputs[f"{name} moved"] = history["moved"]
    model, history = train("cifar", 0.5, devices, synchronized=False)
    outputs["statistics of replicas"] = local(devices, statistics(model))
    outputs["weights of replicas"] = local(devices, model.trainable_variables)
    outputs |= {noise: made_of_ones(noise, devices) for noise in NOISES}
    outputs["evaluated"] = [history["val_loss"][-1], history["val_accuracy"][-1]]
    outputs["apart and averaged"] = apart_and_averaged(devices)
    if devices.chief:
        images = image_set(ImageSet, tests=37)
        folder = pathlib.Path(outputs_path).with_suffix("")
        folder.mkdir()
        export.save(folder, model, images.mean, images.class_names)
    devices.agree(0)
    np.savez(outputs_path.replace(".npz", f"{devices.worker}.npz"), **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
