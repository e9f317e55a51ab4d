"""Which devices train, and how many steps one call of them does."""

import itertools

import keras

from training.config import Config, TrainConfig
from training.data import Batches, ImageSet
from training.errors import UserError

MOST_STEPS = 100  # of one call, where `train.steps_per_call` is auto: half a second of a ResNet-110 on a fast GPU


def devices(train: TrainConfig) -> int:
    """Devices that share each batch."""
    return len(keras.distribution.list_devices()) if train.strategy == "mirrored" else 1


def distribute(train: TrainConfig) -> None:
    """Makes the models to come those of all devices, until `keras.utils.clear_session`, where that is asked for.

    `mirrored` is data parallelism by JAX' global arrays: each device holds the variables and a part of the batch, and
    what is computed is what one device would compute, but for rounding: normalization sees the statistics of the whole
    batch, and dropout masks are drawn for the whole batch, so that each device has its own part of them.
    """
    if train.strategy == "mirrored":
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def check(config: Config, images: ImageSet) -> None:
    """Sees to it that these devices can train on `images`.

    Raises:
        UserError: the batch or the test images cannot be shared, or the backend cannot do what is asked for.
    """
    train, backend = config.train, keras.backend.backend()
    batch, count = train.global_batch_size, len(images.train_labels)
    if batch > count:
        raise UserError(f"train.global_batch_size: expected at most the {count} training images, found {batch}")
    if train.strategy == "mirrored" and backend != "jax":
        raise UserError(f"train.strategy: expected none on {backend}, found mirrored")
    found, tests = devices(train), len(images.test_labels)
    if batch % found or tests % found:
        raise UserError(
            "train.strategy: expected a number of devices that divides train.global_batch_size, "
            f"{batch}, and the {tests} test images, found {found} devices"
        )
    steps, call = count // batch, train.steps_per_call
    if call not in ("auto", 1) and (backend == "torch" or (backend == "jax" and train.jit_compile is False)):
        raise UserError(f"train.steps_per_call: expected 1 on torch, and on jax without jit_compile, found {call}")
    if call != "auto" and steps % call:
        raise UserError(f"train.steps_per_call: expected a divisor of the {steps} steps of an epoch, found {call}")


def steps_per_call(train: TrainConfig, batches: Batches) -> int:
    """Steps that one call of the device does; auto is many on an accelerator and JAX, else one."""
    if train.steps_per_call != "auto":
        return train.steps_per_call
    if keras.backend.backend() != "jax" or train.jit_compile is False:
        return 1
    import jax

    most = 1 if jax.default_backend() == "cpu" else MOST_STEPS
    return next(steps for steps in range(most, 0, -1) if batches.steps_per_epoch % steps == 0)


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
