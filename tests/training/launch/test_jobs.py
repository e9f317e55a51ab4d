"""Where the runs of a launch stand, and how they ended."""

import shutil

import pytest

from training import cli
from training.launch import jobs

TRACEBACK = """Traceback (most recent call last):
  File "jax/errors.py", line 7, in get
    raise error
{}
--------------------
For simplicity, JAX has removed its internal frames from the traceback of the following exception.
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("Epoch 1/6\n 3/22\n\n", "3/22"),
        (TRACEBACK.format("RuntimeError: no backend 'cuda'"), "RuntimeError: no backend 'cuda'"),
        (
            TRACEBACK.format("jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED"),
            "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED",
        ),
        (TRACEBACK.format("AssertionError"), "AssertionError"),
        ("KeyError: 'x'\nerror: train.epochs: expected 1\nNote: Errors are above\n", "error: train.epochs: expected 1"),
    ],
)
def test_the_last_words_are_those_that_tell_of_an_error(text, words):
    assert jobs.last_words(text) == words


def test_a_run_whose_directory_is_gone_fails_by_itself(tmp_path):
    (run, *_), _ = cli.load(["--config", "configs/digits.yaml", "--out", str(tmp_path)])
    job = jobs.Job(run)
    job.begin("cpu")
    shutil.rmtree(run.directory)
    job.settle(2)
    assert (job.state, job.why) == ("failed", "exit code 2")
