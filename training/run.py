"""One run: build, fit, checkpoint, record."""

import bisect
import math
import sys
import time
from typing import Any

import keras

import models
from iclayer import AverageStatistics
from training import checkpoint, export, metrics, records
from training.config import Config, Run, TrainConfig, flatten, network
from training.data.images import Batches, ImageSet
from training.data.photographs import PhotoBatches, PhotoSet
from training.devices import cluster, optimizer, strategy
from training.devices.strategy import ONE_DEVICE, Devices
from training.errors import UserError
from training.interrupt import Interruption


def learning_rate(train: TrainConfig, epoch: int) -> float:
    """Learning rate of `epoch`, counted from 0: divided by 10 after each of `train.drops` epochs (4.2)."""
    return train.learning_rate / 10 ** bisect.bisect_right(train.drops, epoch)


def build(config: Config, images: ImageSet | PhotoSet, devices: Devices = ONE_DEVICE) -> keras.Model:
    """The compiled model of a run; its initial state is a function of `config`."""
    train = config.train
    keras.utils.clear_session()
    strategy.distribute(devices)
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(train.precision)
    builder = getattr(models, config.model.network)
    with devices.scope():
        model = builder(**config.model.arguments(), num_classes=images.num_classes, input_shape=images.shape)
        model.compile(
            optimizer=optimizer.build(train, model.trainable_variables),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=metrics.of(photographs=config.model.network == "imagenet_resnet"),
            jit_compile=train.jit_compile,
            steps_per_execution=strategy.steps_per_call(train, images.train_count // train.global_batch_size, devices),
        )
    strategy.prepare(model, devices)
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
        devices: what it trains on.
        history: text of history.csv so far; the state of this callback, so each checkpoint holds it.
        interruption: says whether to end.
    """

    def __init__(
        self, run: Run, batches: Batches | PhotoBatches, devices: Devices, history: str, interruption: Interruption
    ):
        super().__init__()
        self.run = run
        self.batches = batches
        self.devices = devices
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
        count = self.batches.images.test_count
        exact = {name: round(logs[name] * count) / count for name in ("val_accuracy", "val_top5") if name in logs}
        self.history += records.history_row(self.run.config, logs | exact | row)
        if self.devices.chief:
            checkpoint.save(self.run.checkpoints, self.model, self.epoch, self.history)
            records.write_history(self.run.directory, self.history)


def train(
    run: Run, images: ImageSet | PhotoSet, state: checkpoint.State | None, interruption: Interruption, devices: Devices
) -> dict:
    """Trains from `state`, or from the beginning, to the end; the chief of the workers records everything.

    Returns:
        What result.json holds; the status is "finished", "diverged" or "interrupted".

    Raises:
        UserError: the records cannot be written, the state is another model's, an image cannot be used, or a worker is
            lost.
    """
    config = run.config
    batches = images.batches(config.train.global_batch_size, config.seed, config.data, devices.part)
    model = build(config, images, devices)
    steps, test_batch = batches.steps_per_epoch, devices.test_batch(images.test_count)
    if state:
        checkpoint.restore(state, model)
    first_epoch, history = (state.epochs, state.history) if state else (0, records.history_header(config))
    if devices.chief:
        checkpoint.check_space(run.checkpoints, model)
        records.start(run, first_epoch, images.sha256, devices.replicas, images.genuine, images.class_names)
        records.write_history(run.directory, history)
        if not state:
            checkpoint.clear(run.checkpoints)  # after the history, so that a kill between leaves what goes on
    facts = {
        "trainable_parameters": sum(math.prod(weight.shape) for weight in model.trainable_weights),
        "evaluated_images": images.test_count,
    }
    shares = f", {batches.batch_size // devices.replicas} on each of {devices.replicas} replicas"
    print(
        f"{network(flatten(config.to_dict()))}, unit {config.model.unit}, seed {config.seed}, on "
        f"{strategy.names(devices)} ({keras.backend.backend()}): {facts['trainable_parameters']:,} trainable "
        f"parameters, {images.train_count:,} training and {images.test_count:,} test images, "
        f"{steps} steps of {batches.batch_size} images{shares if devices.replicas > 1 else ''}, "
        f"epochs {first_epoch + 1} to {config.train.epochs}",
        flush=True,
    )
    recorder = Recorder(run, batches, devices, history, interruption)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(config.train, epoch))
    callbacks = [AverageStatistics(), scheduler, recorder]
    if config.train.tensorboard and devices.chief:
        callbacks.append(keras.callbacks.TensorBoard(run.directory / "tensorboard", write_graph=False))
    try:
        if first_epoch < config.train.epochs:
            model.fit(
                devices.share(batches.stream(first_epoch * steps, config.train.epochs * steps)),
                initial_epoch=first_epoch,
                epochs=config.train.epochs,
                steps_per_epoch=steps,
                shuffle=False,  # the batches are in order already
                validation_data=devices.share(batches.validation(test_batch)),
                validation_steps=-(-images.test_count // test_batch),
                callbacks=callbacks,
                verbose=(1 if sys.stdout.isatty() else 2) if devices.chief else 0,
            )
    except StopTrainingError:
        status = "diverged" if recorder.diverged_at else "interrupted"
        facts |= {"diverged_at": recorder.diverged_at} if recorder.diverged_at else {}
        return _end(run, devices, batches, status, facts)
    except UserError:
        raise
    except Exception as error:  # whatever the backend has to say
        if fault := batches.fault(error):
            raise UserError(fault) from error
        if devices.workers > 1:
            raise cluster.lost(error) from error
        raise
    if devices.chief:
        export.save(run.checkpoints, model, images.mean, images.class_names)
    return _end(run, devices, batches, "finished", facts)


def _end(run, devices, batches, status, facts):
    """The result, which the chief writes."""
    if batches.bad:
        facts["skipped_images"] = len(set(batches.bad))
        print(f"{facts['skipped_images']} photographs were skipped")
    return records.write_result(run.directory, status, **facts) if devices.chief else {"status": status} | facts
