"""Typed configs: dataclasses, filled from YAML and the command line."""

import argparse
import dataclasses
import functools
import inspect
import itertools
import math
import pathlib
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser, Namespace

import models
from iclayer.layer import NORMALIZATIONS, check_arguments
from models.cifar import units_per_stage
from models.imagenet import check_depth
from models.plain import SIZES
from models.units import SHORTCUTS, Ordering
from training.errors import UserError

# What differs from the defaults below, for each script (4.2, 4.3).
DEFAULTS: dict[str, dict[str, Any]] = {
    "train_cifar.py": {},
    "train_imagenet.py": {
        "data.name": "imagenet2012",
        "model.network": "imagenet_resnet",
        "model.depth": 50,
        "model.momentum": 0.9,
        "model.epsilon": 1e-5,
        "model.shortcut": "projection-norm",
        "model.use_bias": False,
        "model.l2": 5e-5,
        "train.epochs": 90,
        "train.global_batch_size": 256,
        "train.optimizer": "sgd",
        "train.learning_rate": 0.1,
        "train.drops": [30, 60],
    },
}


@dataclasses.dataclass
class DataConfig:
    """The images.

    Args:
        name: data set
        data_dir: folder of the prepared TensorFlow Datasets; null: their default, ~/tensorflow_datasets
        train_examples: train on the first so many images; null: all
        augment: random shifts, and flips where they keep the label; imagenet2012: random crops and flips
        on_bad_image: imagenet2012: a training photograph that cannot be decoded ends the run, or is counted and skipped
    """

    name: Literal["cifar10", "cifar100", "fashion_mnist", "digits", "imagenet2012"] = "cifar10"
    data_dir: str | None = None
    train_examples: int | None = None
    augment: bool = True
    on_bad_image: Literal["error", "skip"] = "error"


@dataclasses.dataclass
class ModelConfig:
    """The network: a builder of `models` and its arguments.

    Args:
        network: a builder of `models`; the other keys are its arguments
        depth: cifar_resnet: 6n + 2, or 9n + 2 with bottleneck; imagenet_resnet: 18, 34, 50, 101 or 152
        unit: name of a unit, or an ordering such as "conv bn | relu"
        bottleneck: cifar_resnet: ResNet-B
        stages: imagenet_resnet: units of each of the four stages; null: those of He et al.
        size: plain: number and width of layers
        rate: fraction that dropout drops
        normalization: what `bn`, and `ic` before its dropout, do
        momentum: of the moving statistics
        epsilon: added to the variance
        shortcut: ResNets: where shapes change
        use_bias: bias in conv layers
        l2: penalty on conv kernels
    """

    network: Literal["cifar_resnet", "plain", "imagenet_resnet"] = "cifar_resnet"
    depth: int = 110
    unit: str = "relu-ic-conv"
    bottleneck: bool = False
    stages: list[int] | None = None
    size: Literal[*SIZES] = "medium"  # type: ignore[valid-type]
    rate: float = 0.05
    normalization: Literal[*NORMALIZATIONS] = "batch"  # type: ignore[valid-type]
    momentum: float = 0.99
    epsilon: float = 1e-3
    shortcut: Literal[*SHORTCUTS] = "projection"  # type: ignore[valid-type]
    use_bias: bool = True
    l2: float = 1e-4

    def arguments(self) -> dict[str, Any]:
        """The arguments of the network's builder."""
        builder = inspect.signature(getattr(models, self.network)).parameters
        return {key: value for key, value in vars(self).items() if key in builder}


@dataclasses.dataclass
class TrainConfig:
    """The training (4.2).

    Args:
        epochs: passes over the training images
        global_batch_size: images a step, over all devices
        optimizer: adam, or sgd with momentum 0.9
        learning_rate: before the first drop
        drops: the learning rate is divided by 10 after each of these epochs
        precision: mixed_bfloat16 keeps variables, statistics and logits in float32
        strategy: none is one device; mirrored shares each batch among all GPUs, multi_worker among the hosts of
            TF_CONFIG too, tpu among a TPU's cores; auto takes what is there
        jit_compile: XLA; auto leaves it to Keras
        steps_per_call: steps that one call of the device does, and after which a run looks whether to stop; auto: many
            on a TPU, on one GPU, and on JAX's GPUs, else 1
        tensorboard: log for TensorBoard too, into the run directory
    """

    epochs: int = 200
    global_batch_size: int = 64
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    drops: list[int] = dataclasses.field(default_factory=lambda: [80, 120, 160])
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    strategy: Literal["auto", "none", "mirrored", "multi_worker", "tpu"] = "none"
    jit_compile: Literal["auto"] | bool = "auto"
    steps_per_call: Literal["auto"] | int = "auto"
    tensorboard: bool = False


@dataclasses.dataclass
class Config:
    """One run.

    Args:
        seed: of initial weights, dropout masks, order and augmentation
        out: folder of the run directories
        resume: auto goes on with an unfinished run, never starts it over; a finished one stays in both
        data: the images
        model: the network
        train: the training
    """

    seed: int = 0
    out: str = "runs"
    resume: Literal["auto", "never"] = "auto"
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass
class Run:
    """One run of a grid: its config, and where its records go."""

    config: Config
    directory: pathlib.Path

    @property
    def checkpoints(self) -> pathlib.Path:
        return self.directory / "checkpoints"


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"depth": 20}} to {"model.depth": 20}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def defaults(config: Config) -> dict[str, Any]:
    """The defaults, flattened, of the script that trains such a run."""
    script = "train_imagenet.py" if config.model.network == "imagenet_resnet" else "train_cifar.py"
    return flatten(Config().to_dict()) | DEFAULTS[script]


def load(argv: list[str], script: str = "train_cifar.py") -> tuple[list[Run], bool]:
    """Reads the command line and the YAML that it names.

    A key of the grid that stands on the command line leaves the grid.

    Args:
        argv: the command line.
        script: one of `DEFAULTS`.

    Returns:
        The runs, each with a checked config; and whether only to print them (`--print_config`).

    Raises:
        UserError: an unknown key, a wrong type or value.
    """
    parser = _parser(script)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--config")
    first.add_argument("--print_config", action="store_true")
    try:
        options, rest = first.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(error) from error
    if options.config:
        _parse(parser.parse_path, options.config, of=f"{options.config}: ")
    base = _parse(parser.parse_args, [*(["--config", options.config] if options.config else []), *rest])
    given = _parse(parser.parse_args, rest, defaults=False)
    grid = base.pop("grid") or {}
    if "grid" in given:
        raise UserError("grid: expected in the YAML file, found on the command line")
    name = pathlib.Path(options.config).stem if options.config else "default"
    keys = flatten(Config().to_dict())
    runs: dict[pathlib.Path, Run] = {}
    for mapping in grid if isinstance(grid, list) else [grid]:
        for key in mapping:
            _require("grid", key, key in keys, "keys such as model.unit")
        axes = {key: [base[key]] if key in given else values for key, values in mapping.items()}
        for values in itertools.product(*axes.values()):
            run = _make_run(parser, base, dict(zip(axes, values, strict=True)), name)
            if run.directory in runs and not any(key in given for key in mapping):
                raise UserError(f"grid: expected different runs, found {run.directory} twice")
            runs[run.directory] = run
    if not runs:
        raise UserError("grid: expected at least one value for each key, found none")
    return list(runs.values()), options.print_config


def parse(tree: dict[str, Any]) -> Config:
    """The checked config of one run, from what `Config.to_dict` gives; a key that is not there has its default.

    Raises:
        UserError: an unknown key, a wrong type or value.
    """
    config = _fill(Config, _parse(_parser("train_cifar.py").parse_object, tree))
    validate(config)
    return config


@functools.cache
def _parser(script):
    parser = ArgumentParser(
        prog=script,
        description="Trains ResNets and plain networks with any ordering of normalization, dropout and activation.",
        epilog="Exit codes: 0 all runs finished, 2 a mistake of yours, 3 a run diverged, 130 interrupted (the same "
        "command resumes it).",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file; the other options override it")
    parser.add_class_arguments(Config)
    parser.set_defaults(DEFAULTS[script])
    parser.add_argument(
        "--grid",
        type=dict[str, list[Any]] | list[dict[str, list[Any]]],
        default={},
        help="YAML only: a dotted key to a list of values, and the runs are the product; or a list of such mappings",
    )
    return parser


def _parse(parse, *args, of="", **kwargs):
    """Calls jsonargparse, and makes its complaints a UserError that begins with `of`."""
    try:
        return parse(*args, **kwargs)
    except Exception as error:  # of YAML and of the file system too
        raise UserError(f"{of}{error}") from error


def _make_run(parser, base, values, name):
    tree = Namespace()
    for key, value in values.items():
        tree[key] = value
    config = _fill(Config, _parse(parser.parse_object, tree.as_dict(), namespace=base, of="grid: "))
    validate(config)
    cell = label({key: value for key, value in values.items() if key != "seed"})
    directory = f"{cell}-seed{config.seed}" if cell else f"seed{config.seed}"
    return Run(config, pathlib.Path(config.out) / name / directory)


def _fill(cls, parsed, prefix=""):
    """Makes the dataclass; jsonargparse lets null through everywhere, and anything for a whole group."""
    values = {}
    for field in dataclasses.fields(cls):
        key, value = prefix + field.name, parsed[field.name]
        if dataclasses.is_dataclass(field.type):
            _require(key, value, isinstance(value, Namespace), "a mapping")
            value = _fill(field.type, value, f"{key}.")
        _require(key, value, value is not None or field.default is None, "a value, not null")
        values[field.name] = value
    return cls(**values)


def label(values: dict[str, Any]) -> str:
    """Values of a grid's keys as a name, such as "resnet-b-110-baseline"."""
    return "-".join(_part(key, value) for key, value in values.items())


def _part(key, value):
    if key == "model.bottleneck":
        return "resnet-b" if value else "resnet"
    if value is None or isinstance(value, bool):
        return ("" if value else "no-") + key.split(".")[-1]
    return "-".join(str(value).replace("|", "+").replace("/", "_").split())


def _require(key, value, valid, expected):
    if not valid:
        raise UserError(f"{key}: expected {expected}, found {value}")


def validate(config: Config) -> None:
    """Checks what types do not say.

    Raises:
        UserError: a value that no run can have; the message names its key.
    """
    data, model, train = config.data, config.model, config.train
    _require("seed", config.seed, 0 <= config.seed < 2**32, "an integer from 0 to 4294967295")
    examples = data.train_examples
    _require("data.train_examples", examples, examples is None or examples >= 1, "null or an integer of at least 1")
    photographs = data.name == "imagenet2012"
    network = "imagenet_resnet" if photographs else "cifar_resnet or plain"
    _require("model.network", model.network, model.network in network.split(" or "), f"{network} for {data.name}")
    _require("data.train_examples", examples, examples is None or not photographs, f"null for {data.name}")
    _require(
        "data.on_bad_image", data.on_bad_image, photographs or data.on_bad_image == "error", "error for such images"
    )
    _require("train.epochs", train.epochs, train.epochs >= 1, "an integer of at least 1")
    batch = train.global_batch_size
    _require("train.global_batch_size", batch, batch >= 1, "an integer of at least 1")
    call = train.steps_per_call
    _require("train.steps_per_call", call, call == "auto" or call >= 1, "auto or an integer of at least 1")
    rate = train.learning_rate
    _require("train.learning_rate", rate, math.isfinite(rate) and rate > 0, "a number above 0")
    rising = all(a < b for a, b in itertools.pairwise([0, *train.drops]))
    _require("train.drops", train.drops, rising, "epochs of at least 1 in rising order")
    _require("model.l2", model.l2, math.isfinite(model.l2) and model.l2 >= 0, "a number of at least 0")
    applicable = model.arguments()
    for field in dataclasses.fields(ModelConfig):
        if field.name not in {"network", *applicable}:
            value = getattr(model, field.name)
            _require(f"model.{field.name}", value, value == field.default, f"no such key for {model.network}")
    try:
        Ordering.parse(model.unit)
        check_arguments(model.rate, model.normalization, model.momentum, model.epsilon)
        if model.network == "cifar_resnet":
            units_per_stage(model.depth, model.bottleneck)
        if model.network == "imagenet_resnet":
            check_depth(model.depth, model.stages)
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def dump(runs: list[Run]) -> str:
    """The resolved configs as YAML, one document a run."""
    return "".join(f"--- # {run.directory}\n{yaml.safe_dump(run.config.to_dict(), sort_keys=False)}" for run in runs)
