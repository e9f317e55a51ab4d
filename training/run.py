"""One run: build, fit, checkpoint, record."""

import bisect
import math
import sys
import time

import keras

import models
from training import checkpoint, records
from training.config import Config, Run, TrainConfig
from training.data import Batches, ImageSet, tf_dataset


def learning_rate(train: TrainConfig, epoch: int) -> float:
    """Learning rate of `epoch`, counted from 0: divided by 10 after each of `train.drops` epochs (4.2)."""
    return train.learning_rate / 10 ** bisect.bisect_right(train.drops, epoch)


def build(config: Config, images: ImageSet) -> keras.Model:
    """The compiled model of a run; its initial state is a function of `config`."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.train.precision)
    builder = getattr(models, config.model.network)
    shape = images.train_images.shape[1:]
    model = builder(**config.model.arguments(), num_classes=images.num_classes, input_shape=shape)
    rate = config.train.learning_rate
    optimizers = {
        "adam": lambda: keras.optimizers.Adam(rate),
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=0.9),
    }
    model.compile(
        optimizer=optimizers[config.train.optimizer](),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=config.train.jit_compile,
    )
    return model


class Recorder(keras.callbacks.Callback):
    """Writes a row of history.csv, then the checkpoint, after each epoch; stops at a loss that is not finite."""

    def __init__(self, run: Run, images_per_epoch: int):
        super().__init__()
        self.run = run
        self.images_per_epoch = images_per_epoch
        self.diverged = False

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            self.diverged = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.diverged |= math.isnan(logs["val_loss"])
        if self.diverged:
            self.model.stop_training = True
            return
        row = {
            "epoch": epoch + 1,
            "learning_rate": learning_rate(self.run.config.train, epoch),
            "seconds": round(time.perf_counter() - self.started, 3),
            "images_per_second": round(self.images_per_epoch / (self.trained - self.started), 1),
        }
        records.append_history(self.run.directory, logs | row)
        checkpoint.save(state_path(self.run), self.model, epoch + 1)


def state_path(run: Run):
    return run.directory / "checkpoints" / "state.npz"


def train(run: Run, images: ImageSet) -> dict:
    """Trains from the beginning, or from the last checkpoint, to the end, and records everything.

    Returns:
        What result.json holds; the status is "finished", "diverged" or, after Ctrl-C, "interrupted".
    """
    config = run.config
    model = build(config, images)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    batches = Batches(images, config.train.global_batch_size, config.seed, config.data.augment)
    records.start(run)
    first_epoch = checkpoint.restore(state_path(run), model)
    records.cut_history(run.directory, first_epoch)
    print(
        f"{model.name}, unit {config.model.unit}, seed {config.seed}: {parameters:,} trainable parameters, "
        f"{len(images.train_labels):,} training and {len(images.test_labels):,} test images, "
        f"{batches.steps_per_epoch} steps of {config.train.global_batch_size} images, "
        f"epochs {first_epoch + 1} to {config.train.epochs}",
        flush=True,
    )
    recorder = Recorder(run, batches.steps_per_epoch * batches.batch_size)
    steps = batches.steps_per_epoch
    status = "finished"
    try:
        model.fit(
            tf_dataset(batches, first_epoch * steps, config.train.epochs * steps),
            initial_epoch=first_epoch,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the batches are in order already
            validation_data=(images.normalize(images.test_images), images.test_labels),
            validation_batch_size=250,  # memory alone: every test image counts once at any size
            callbacks=[
                keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(config.train, epoch)),
                recorder,
            ],
            verbose=1 if sys.stdout.isatty() else 2,
        )
    except KeyboardInterrupt:
        status = "interrupted"
    if recorder.diverged:
        status = "diverged"
    if status == "finished":
        model.save(run.directory / "checkpoints" / "model.keras")
    return records.write_result(run.directory, status, parameters, len(images.test_labels))
