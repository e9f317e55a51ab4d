"""Which devices train, and how many steps one call of them does."""

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import os
import pathlib
import sys
from typing import Any

import keras

from training.config import Config, TrainConfig
from training.devices import cluster, internals
from training.devices.backend import accelerators
from training.errors import UserError, reason

MOST_STEPS = 100  # of one call, where `train.steps_per_call` is auto: half a second of a ResNet-110 on a fast GPU
ABLE = {"tensorflow": ("none", "mirrored", "multi_worker", "tpu"), "jax": ("none", "mirrored"), "torch": ("none",)}
DRIVER = pathlib.Path("/proc/driver/nvidia/gpus")  # a folder for each GPU, on Linux
TEST_BATCH = 250  # at most, but for the replicas; every test image counts once at any size


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that train together.

    Args:
        strategy: "none", "mirrored", "multi_worker" or "tpu".
        replicas: devices that share each batch.
        worker: index of this process among `workers`; 0 is the chief, who alone writes.
        distribution: the `tf.distribute.Strategy`, where it is one.
    """

    strategy: str = "none"
    replicas: int = 1
    worker: int = 0
    workers: int = 1
    distribution: Any = None

    @property
    def chief(self) -> bool:
        return self.worker == 0

    @property
    def part(self) -> tuple[int, int]:
        """What `batches` of a data set takes, for this process to make its part of each batch."""
        return self.worker, self.workers

    def test_batch(self, images: int) -> int:
        """Test images a step, of so many in all: a multiple of the replicas."""
        return -(-min(TEST_BATCH, images) // self.replicas) * self.replicas

    def scope(self):
        """Where models and optimizers are made."""
        return self.distribution.scope() if self.distribution else contextlib.nullcontext()

    def share(self, dataset):
        """A `tf.data.Dataset` of this worker's parts of batches, as `fit` takes it: each replica has its own part."""
        if not self.distribution:
            return dataset
        import tensorflow as tf

        local = self.replicas // self.workers

        def split(*batch):
            return tuple(tf.reshape(part, [local, part.shape[0] // local, *part.shape[1:]]) for part in batch)

        parts = dataset.map(split).unbatch().prefetch(local)
        return self.distribution.distribute_datasets_from_function(lambda context: parts)

    def agree(self, number: int) -> int:
        """The chief's number, to all workers, once all are here.

        Raises:
            UserError: a worker is lost.
        """
        if self.workers == 1:
            return number
        import tensorflow as tf

        each = tf.function(lambda: tf.constant(number * self.chief / (self.replicas // self.workers)))
        try:
            return round(float(self.distribution.reduce("SUM", self.distribution.run(each), axis=None)))
        except Exception as error:  # whatever TensorFlow has to say
            raise cluster.lost(error) from error


ONE_DEVICE = Devices()


def choose(train: TrainConfig) -> str:
    """The name of the strategy: what `train.strategy` says, or for auto what is there.

    Raises:
        UserError: the backend has no such strategy.
    """
    backend, wanted = keras.backend.backend(), train.strategy
    able = ABLE[backend]
    if wanted not in ("auto", *able):
        raise UserError(f"train.strategy: expected auto or one of {', '.join(able)} on {backend}, found {wanted}")
    if wanted != "auto":
        return wanted
    if backend == "tensorflow":
        if importlib.util.find_spec("libtpu"):
            with contextlib.suppress(UserError):
                return start("tpu").strategy
        if len(cluster.read().addresses) > 1:
            return "multi_worker"
    return "mirrored" if "mirrored" in able and len(accelerators()) > 1 else "none"


@functools.cache
def start(strategy: str) -> Devices:
    """Takes hold of the devices, once in a process and before it computes anything.

    Raises:
        UserError: they are not to be had.
    """
    if strategy == "none":
        return ONE_DEVICE
    if strategy == "mirrored" and len(_computing()) < 2:
        warn_of_unseen_gpus()
        raise UserError(f"train.strategy: expected two devices or more for mirrored, found {_computing()[0]} alone")
    if keras.backend.backend() == "jax":
        return Devices(strategy, len(_computing()))
    import tensorflow as tf

    if strategy == "mirrored":
        gpus, cpus = tf.config.list_logical_devices("GPU"), tf.config.list_logical_devices("CPU")
        names = [device.name for device in gpus or cpus]
        # Keras' several steps a call do not work with the default, collective operations.
        reduce = tf.distribute.NcclAllReduce() if gpus else tf.distribute.HierarchicalCopyAllReduce()
        distribution = tf.distribute.MirroredStrategy(names, cross_device_ops=reduce)
        return Devices(strategy, distribution.num_replicas_in_sync, distribution=distribution)
    if strategy == "multi_worker":
        workers = cluster.read()
        if len(workers.addresses) < 2:
            raise UserError(
                "train.strategy: expected TF_CONFIG to name two workers or more for multi_worker, found one"
            )
        cluster.check_port(workers)
        with cluster.patience(workers):
            distribution = tf.distribute.MultiWorkerMirroredStrategy()
        replicas = distribution.num_replicas_in_sync
        return Devices(strategy, replicas, workers.worker, len(workers.addresses), distribution)
    name = os.environ.get("TPU_NAME", "local")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        distribution = tf.distribute.TPUStrategy(resolver)
    except Exception as error:  # of many kinds, from TensorFlow and from the cloud's client
        raise UserError(
            f"train.strategy: expected a TPU named {name} (TPU_NAME), found none: {reason(error)}"
        ) from error
    return Devices(strategy, distribution.num_replicas_in_sync, distribution=distribution)


def distribute(devices: Devices) -> None:
    """On JAX, makes the models to come those of all devices, until `keras.utils.clear_session`.

    Each device holds the variables and a part of the batch, and what is computed is what one device would compute, but
    for rounding: normalization sees the statistics of the whole batch, and dropout masks are drawn for the whole batch,
    so that each device has its own part of them.
    """
    if devices.replicas > 1 and not devices.distribution:
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def check(config: Config, train_count: int, devices: Devices) -> None:
    """Sees to it that these devices can train on so many images.

    Raises:
        UserError: the batch cannot be shared, or the backend cannot do what is asked for.
    """
    train, backend = config.train, keras.backend.backend()
    batch, replicas = train.global_batch_size, devices.replicas
    if batch > train_count:
        raise UserError(f"train.global_batch_size: expected at most the {train_count} training images, found {batch}")
    if batch % replicas:
        raise UserError(f"train.global_batch_size: expected a multiple of the {replicas} replicas, found {batch}")
    steps, call = train_count // batch, train.steps_per_call
    one = backend == "torch" or (backend == "jax" and train.jit_compile is False) or devices.strategy == "multi_worker"
    if call not in ("auto", 1) and one:
        raise UserError(
            "train.steps_per_call: expected 1 on torch, on jax without jit_compile and for several workers, "
            f"found {call}"
        )
    if call != "auto" and steps % call:
        raise UserError(f"train.steps_per_call: expected a divisor of the {steps} steps of an epoch, found {call}")
    if train.jit_compile is True and devices.distribution:
        raise UserError(f"train.jit_compile: expected auto or false with {devices.strategy}, found true")


def steps_per_call(train: TrainConfig, steps_per_epoch: int, devices: Devices) -> int:
    """Steps that one call of the device does; auto is many on a TPU, and on one accelerator or on JAX's, else one."""
    if train.steps_per_call != "auto":
        return train.steps_per_call
    backend = keras.backend.backend()
    one = backend == "torch" or (backend == "jax" and train.jit_compile is False) or devices.distribution
    if devices.strategy != "tpu" and (one or not accelerators()):
        return 1
    return next(steps for steps in range(MOST_STEPS, 0, -1) if steps_per_epoch % steps == 0)


def _computing():
    """The devices of this process that several replicas would share."""
    if keras.backend.backend() == "torch":
        return accelerators() or ["cpu:0"]
    return accelerators() or keras.distribution.list_devices()


def names(devices: Devices) -> str:
    """The devices of this process that train, such as "gpu:0, gpu:1"."""
    return ", ".join(_computing() if devices.replicas > 1 else _computing()[:1])


def warn_of_unseen_gpus() -> None:
    """Says where the driver shows a GPU and the backend has none, which the default environment does not support."""
    shown = len(list(DRIVER.glob("*")))
    if shown and "CUDA_VISIBLE_DEVICES" not in os.environ and not accelerators():
        print(
            f"warning: NVIDIA's driver shows {shown} GPU{'s' if shown > 1 else ''}, and {keras.backend.backend()} sees "
            "none and trains on the CPU; `make GPU=1` sets up TensorFlow for them",
            file=sys.stderr,
        )


def prepare(model: keras.Model, devices: Devices) -> None:
    """Has `fit` do what it cannot of itself: scan on JAX; on several workers, run at all (Keras 3.15.1)."""
    if keras.backend.backend() == "jax" and model.steps_per_execution > 1:
        model.train_function = scan(model)
    if not devices.distribution:
        return
    images = keras.KerasTensor((2, *model.input_shape[1:]), model.inputs[0].dtype)
    labels, weights = keras.KerasTensor((2,), "int32"), keras.KerasTensor((2,), "float32")
    with devices.scope():
        internals.build_for_fit(model, (images, labels, weights))
    if devices.workers > 1:
        model.train_step, model.test_step = _of_rank_1(model.train_step), _of_rank_1(model.test_step)


def _of_rank_1(step):
    """A step whose logs have the axis that Keras takes the mean over, with several workers."""
    import tensorflow as tf

    return lambda data: {name: tf.reshape(value, [1]) for name, value in step(data).items()}


def scan(model: keras.Model):
    """What `fit` calls on JAX: one call that scans over the next `model.steps_per_execution` batches on the device.

    Keras' own calls the device once a step, and handing over a network's state costs the host more than a fast device
    needs for the step: a ResNet-110 with Adam has 1,659 arrays.
    """
    import jax

    def step(state, batch):
        logs, state = model.train_step(state, batch)
        return state, logs

    @jax.jit(donate_argnums=0)
    def steps(state, batches):
        state, logs = jax.lax.scan(step, state, batches)
        return {name: values[-1] for name, values in logs.items()}, state

    def train_function(state, iterator):
        batches = itertools.islice(iterator, model.steps_per_execution)
        return steps(state, jax.tree.map(lambda *parts: jax.numpy.stack(parts), *batches))

    return train_function
