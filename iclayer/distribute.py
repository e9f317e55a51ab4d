"""What training on several devices needs beside the layers."""

import keras

from iclayer.internals import layers_within


class AverageStatistics(keras.callbacks.Callback):
    """Sets the moving statistics of every batch normalization to their mean over replicas and workers.

    Keras updates them on each replica by its own part of the batch, and saves those of the first one. Updates are
    linear, so the mean at the end of an epoch is that of averages at every step. It is taken before each evaluation and
    at the end of each epoch: first among the callbacks of `fit`, this one sees to it that what is evaluated is what is
    saved. Every worker needs it. Without `tf.distribute`, or with one replica, it does nothing.
    """

    def set_model(self, model):
        super().set_model(model)
        self._means = None
        if keras.backend.backend() == "tensorflow" and model.distribute_strategy.num_replicas_in_sync > 1:
            self._trace(model)

    def _trace(self, model):
        import tensorflow as tf

        norms = [layer for layer in layers_within(model) if isinstance(layer, keras.layers.BatchNormalization)]
        statistics = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]

        def mean():
            context = tf.distribute.get_replica_context()
            return context.all_reduce("MEAN", [tf.identity(variable.value) for variable in statistics])

        self._statistics = statistics
        self._means = tf.function(lambda: model.distribute_strategy.run(mean), autograph=False)

    def average(self):
        """Sets them now."""
        if self._means:
            local = self.model.distribute_strategy.experimental_local_results
            for variable, mean in zip(self._statistics, self._means(), strict=True):
                variable.assign(local(mean)[0])

    def on_test_begin(self, logs=None):
        self.average()

    def on_epoch_end(self, epoch, logs=None):
        self.average()
