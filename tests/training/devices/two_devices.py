"""Runs a training script on two virtual CPU devices: python two_devices.py train_cifar.py [OPTIONS]."""

import sys

from training.devices.backend import import_keras

import_keras()

import tensorflow as tf  # noqa: E402

from training import command  # noqa: E402


def two_cpus() -> None:
    """Makes two devices of the CPU, before TensorFlow uses it."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


if __name__ == "__main__":
    two_cpus()
    sys.exit(command.main(sys.argv[2:], sys.argv[1]))
