"""One run: build, fit, checkpoint, record."""

import bisect
import math
import sys
import time
from typing import Any

import keras

import models
from training import checkpoint, optimizer, records, strategy
from training.config import Config, Run, TrainConfig
from training.data import Batches, ImageSet, stream
from training.interrupt import Interruption


def learning_rate(train: TrainConfig, epoch: int) -> float:
    """Learning rate of `epoch`, counted from 0: divided by 10 after each of `train.drops` epochs (4.2)."""
    return train.learning_rate / 10 ** bisect.bisect_right(train.drops, epoch)


def build(config: Config, batches: Batches) -> keras.Model:
    """The compiled model of a run; its initial state is a function of `config`."""
    images = batches.images
    keras.utils.clear_session()
    strategy.distribute(config.train)
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.train.precision)
    builder = getattr(models, config.model.network)
    shape = images.train_images.shape[1:]
    model = builder(**config.model.arguments(), num_classes=images.num_classes, input_shape=shape)
    model.compile(
        optimizer=optimizer.build(config.train, model.trainable_variables),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=config.train.jit_compile,
        steps_per_execution=strategy.steps_per_call(config.train, batches),
    )
    if model.steps_per_execution > 1 and keras.backend.backend() == "jax":
        model.train_function = strategy.scan(model)
    return model


class StopTrainingError(Exception):
    """Ends `fit` between two batches."""


class Recorder(keras.callbacks.Callback):
    """Writes the checkpoint and history.csv after each epoch.

    It stops at a loss that is not finite, and between two calls of the device where that is requested. It looks at the
    loss of a call when the next one is under way, so that the device need not wait for that.

    Args:
        run: the run.
        batches: its training batches.
        history: text of history.csv so far; the state of this callback, so each checkpoint holds it.
        interruption: says whether to end.
    """

    def __init__(self, run: Run, batches: Batches, history: str, interruption: Interruption):
        super().__init__()
        self.run = run
        self.batches = batches
        self.history = history
        self.interruption = interruption
        self.diverged_at: dict[str, int] | None = None
        self.under_way: tuple[Any, int] | None = None  # loss and step of the last call

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._check((logs["loss"], batch + 1))

    def on_test_begin(self, logs=None):
        self._check(None)
        self.trained = time.perf_counter()

    def on_test_batch_end(self, batch, logs=None):
        self._check((logs["loss"], self.batches.steps_per_epoch))

    def on_test_end(self, logs=None):
        self._check(None)

    def _check(self, under_way):
        before, self.under_way = self.under_way, under_way
        if before and not math.isfinite(before[0]):
            self.diverged_at = {"epoch": self.epoch, "step": before[1]}
            raise StopTrainingError
        if self.interruption.requested:
            raise StopTrainingError

    def on_epoch_end(self, epoch, logs=None):
        row = {
            "epoch": self.epoch,
            "learning_rate": learning_rate(self.run.config.train, epoch),
            "seconds": round(time.perf_counter() - self.started, 3),
            "images_per_second": round(
                self.batches.steps_per_epoch * self.batches.batch_size / (self.trained - self.started), 1
            ),
        }
        self.history += records.history_row(logs | row)
        checkpoint.save(self.run.checkpoints, self.model, self.epoch, self.history)
        records.write_history(self.run.directory, self.history)


def train(run: Run, images: ImageSet, state: checkpoint.State | None, interruption: Interruption) -> dict:
    """Trains from `state`, or from the beginning, to the end, and records everything.

    Returns:
        What result.json holds; the status is "finished", "diverged" or "interrupted".

    Raises:
        UserError: the records cannot be written, or the state is another model's.
    """
    config = run.config
    batches = Batches(images, config.train.global_batch_size, config.seed, config.data.augment)
    model = build(config, batches)
    steps = batches.steps_per_epoch
    checkpoint.check_space(run.checkpoints, model)
    if state:
        checkpoint.restore(state, model)
    first_epoch, history = (state.epochs, state.history) if state else (0, records.HISTORY_HEADER)
    records.start(run, first_epoch, images.sha256)
    records.write_history(run.directory, history)
    if not state:
        checkpoint.clear(run.checkpoints)  # after the history, so that a kill between leaves what goes on
    facts = {
        "trainable_parameters": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        "evaluated_images": len(images.test_labels),
    }
    print(
        f"{model.name}, unit {config.model.unit}, seed {config.seed}: {facts['trainable_parameters']:,} trainable "
        f"parameters, {len(images.train_labels):,} training and {len(images.test_labels):,} test images, "
        f"{steps} steps of {batches.batch_size} images, epochs {first_epoch + 1} to {config.train.epochs}",
        flush=True,
    )
    recorder = Recorder(run, batches, history, interruption)
    callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(config.train, epoch)), recorder]
    if config.train.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(run.directory / "tensorboard", write_graph=False))
    try:
        if first_epoch < config.train.epochs:
            model.fit(
                stream(batches, first_epoch * steps, config.train.epochs * steps),
                initial_epoch=first_epoch,
                epochs=config.train.epochs,
                steps_per_epoch=steps,
                shuffle=False,  # the batches are in order already
                validation_data=(images.normalize(images.test_images), images.test_labels),
                validation_batch_size=250,  # memory alone: every test image counts once at any size
                callbacks=callbacks,
                verbose=1 if sys.stdout.isatty() else 2,
            )
    except StopTrainingError:
        if recorder.diverged_at:
            return records.write_result(run.directory, "diverged", diverged_at=recorder.diverged_at, **facts)
        return records.write_result(run.directory, "interrupted", **facts)
    checkpoint.export(run.checkpoints / "model.keras", model)
    return records.write_result(run.directory, "finished", **facts)
