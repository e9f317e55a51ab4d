"""The run that the tests of resuming end and go on with."""

from benchmarks import kill_and_resume
from training import cli

OPTIONS = "--config configs/digits.yaml --model.unit relu-ic-conv --model.depth 8 --train.epochs 6 --train.drops [4]"
RUN = cli.load([*OPTIONS.split(), "--out", "."])[0][0].directory


def main(out, options=OPTIONS):
    import train_cifar

    return train_cifar.main([*options.split(), "--out", str(out)])


def files(directory):
    return {
        path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and not path.name.startswith("lock")
    }


def assert_same_end(out, whole):
    assert kill_and_resume.same(kill_and_resume.end(out), kill_and_resume.end(whole))
