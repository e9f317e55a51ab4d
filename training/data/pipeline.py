"""What every tf.data pipeline ends with."""

PREFETCHED = 2  # batches


def ahead(dataset):
    """A `tf.data.Dataset` that makes its next batches while the device computes.

    TensorFlow's own search for the best parallelism is off. It has a core wait for up to 1 ms a photograph. And a
    pipeline that is taken down may wait for the search's next look, so that an evaluation takes up to twice as long
    (TensorFlow 2.21).
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCHED).with_options(options)
