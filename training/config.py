"""The config of a run: its keys, their defaults, and what they may be."""

import dataclasses
import inspect
import itertools
import math
import pathlib
import sys
from typing import Any, Literal

import models
from iclayer.layer import NORMALIZATIONS, check_arguments
from models.depths import check_widths, units_per_stage
from models.factory import SHORTCUTS
from models.imagenet import check_depth
from models.plain import SIZES
from models.units import Ordering
from training.data.known import ILSVRC2012, KNOWN
from training.errors import UserError, require

# What changes no result, or its last digits alone.
NEUTRAL = ("out", "resume", "data.data_dir", "data.on_bad_image", "train.threads", "train.tensorboard")
SMALL = ("cifar_resnet", "wide_resnet", "resnext", "densenet", "plain")  # networks of small images
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
        name: digits, which are embedded; a set of TensorFlow Datasets, such as cifar10 or imagenette/160px-v2; or the
            path of an .npz file, or of a folder with train/CLASS/* and val/CLASS/*
        data_dir: folder of the prepared TensorFlow Datasets, or of the path; null: their default, ~/tensorflow_datasets
        train_split: TensorFlow Datasets: what to train on, such as train[:90%]; null: train
        test_split: TensorFlow Datasets: what to test on, such as train[90%:]; null: test, or validation
        train_examples: small images: train on the first so many; null: all
        augment: random shifts of small images, random crops of photographs, and flips where they keep the label
        shift: small images: of at most so many pixels each way; null: what suits the data set
        flip: whether to flip too; null: what suits the data set
        area: photographs: least and greatest share of the area that a crop has
        aspect: photographs: least and greatest width by height of a crop
        image_size: photographs: height and width of what the network sees
        on_bad_image: photographs: one to train with that cannot be decoded ends the run, or is counted and skipped
    """

    name: str = "cifar10"
    data_dir: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    train_examples: int | None = None
    augment: bool = True
    shift: int | None = None
    flip: bool | None = None
    area: list[float] = dataclasses.field(default_factory=lambda: [0.08, 1.0])
    aspect: list[float] = dataclasses.field(default_factory=lambda: [3 / 4, 4 / 3])
    image_size: int = 224
    on_bad_image: Literal["error", "skip"] = "error"


@dataclasses.dataclass
class ModelConfig:
    """The network: a builder of `models` and its arguments.

    Args:
        network: a builder of `models`; the other keys are its arguments
        depth: cifar_resnet: 6n + 2, or 9n + 2 with bottleneck; wide_resnet: 6n + 4; resnext: 9n + 2; densenet: 3n + 4,
            or 6n + 4 with bottleneck; imagenet_resnet: 18, 34, 50, 101 or 152
        unit: name of a unit, or an ordering such as "conv bn | relu"
        bottleneck: cifar_resnet: ResNet-B; densenet: DenseNet-B
        width: wide_resnet: how many times as wide as a ResNet
        cardinality: resnext: groups of channels
        base_width: resnext: channels of a group in the first stage
        growth_rate: densenet: channels that a unit adds
        compression: densenet: share of the channels that a transition keeps
        stages: imagenet_resnet: units of each of the four stages; null: those of He et al.
        size: plain: number and width of layers
        rate: fraction that dropout drops; of Uout, how far it spreads
        normalization: what `bn`, and `ic` before its dropout, do
        momentum: of the moving statistics
        epsilon: added to the variance
        shortcut: ResNets: where shapes change
        use_bias: bias in conv layers
        l2: penalty on conv kernels
    """

    network: Literal[*SMALL, "imagenet_resnet"] = "cifar_resnet"  # type: ignore[valid-type]
    depth: int = 110
    unit: str = "relu-ic-conv"
    bottleneck: bool = False
    width: int = 10
    cardinality: int = 8
    base_width: int = 64
    growth_rate: int = 12
    compression: float = 1.0
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
        threads: of the CPU, to compute with; null: as many as a run began with, and a new one all that there are
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
    threads: int | None = None
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


def data_path(name: str) -> pathlib.PurePath | None:
    """The path that `data.name` is, by itself; None: a name, which is to be looked for."""
    path = pathlib.PurePath(name)
    return path if path.name and (path.suffix == ".npz" or name.startswith(("/", ".", "~"))) else None


def network(config: dict[str, Any]) -> str:
    """The name of a flattened config's network, such as "ResNet-B-110" or "plain medium"."""
    own = vars(ModelConfig()) | {key.removeprefix("model."): value for key, value in config.items()}
    bottle, compressed = own["bottleneck"], own["compression"] < 1
    dense = "DenseNet-" + f"{'B' * bottle}{'C' * compressed}-" * (bottle or compressed)
    form = {
        "wide_resnet": "WRN-{depth}-{width}",
        "resnext": "ResNeXt-{depth} {cardinality}x{base_width}d",
        "densenet": dense + "{depth} k={growth_rate}",
        "plain": "plain {size}",
    }.get(own["network"], "ResNet-" + "B-" * bottle + "{depth}")
    return form.format_map(own)


def defaults(config: Config) -> dict[str, Any]:
    """The defaults, flattened, of the script that trains such a run."""
    script = "train_imagenet.py" if config.model.network == "imagenet_resnet" else "train_cifar.py"
    return flatten(Config().to_dict()) | DEFAULTS[script]


def _validate_data(data, network):
    photographs = network == "imagenet_resnet"
    if data.name in KNOWN or data.name == ILSVRC2012:
        fitting = ("imagenet_resnet",) if data.name == ILSVRC2012 else SMALL
        require("model.network", network, network in fitting, f"{' or '.join(fitting)} for {data.name}")
    default = DataConfig()
    for key in ("train_examples", "shift") if photographs else ("area", "aspect", "image_size", "on_bad_image"):
        value = getattr(data, key)
        require(f"data.{key}", value, value == getattr(default, key), f"no such key for {network}")
    examples = data.train_examples
    require("data.train_examples", examples, examples is None or examples >= 1, "null or an integer of at least 1")
    require("data.shift", data.shift, data.shift is None or data.shift >= 0, "null or an integer of at least 0")
    for key, pair, most in (("area", data.area, 1), ("aspect", data.aspect, sys.float_info.max)):
        rising = len(pair) == 2 and 0 < pair[0] <= pair[1] <= most
        require(f"data.{key}", pair, rising, f"two numbers in rising order, above 0{' and at most 1' * (most == 1)}")
    require("data.image_size", data.image_size, data.image_size >= 32, "an integer of at least 32")


def validate(config: Config) -> None:
    """Checks what types do not say.

    Raises:
        UserError: a value that no run can have; the message names its key.
    """
    data, model, train = config.data, config.model, config.train
    require("seed", config.seed, 0 <= config.seed < 2**32, "an integer from 0 to 4294967295")
    _validate_data(data, model.network)
    require("train.epochs", train.epochs, train.epochs >= 1, "an integer of at least 1")
    batch = train.global_batch_size
    require("train.global_batch_size", batch, batch >= 1, "an integer of at least 1")
    call = train.steps_per_call
    require("train.steps_per_call", call, call == "auto" or call >= 1, "auto or an integer of at least 1")
    require(
        "train.threads", train.threads, train.threads is None or train.threads >= 1, "null or an integer of at least 1"
    )
    rate = train.learning_rate
    require("train.learning_rate", rate, math.isfinite(rate) and rate > 0, "a number above 0")
    rising = all(a < b for a, b in itertools.pairwise([0, *train.drops]))
    require("train.drops", train.drops, rising, "epochs of at least 1 in rising order")
    require("model.l2", model.l2, math.isfinite(model.l2) and model.l2 >= 0, "a number of at least 0")
    applicable = model.arguments()
    for field in dataclasses.fields(ModelConfig):
        if field.name not in {"network", *applicable}:
            value = getattr(model, field.name)
            require(f"model.{field.name}", value, value == field.default, f"no such key for {model.network}")
    try:
        Ordering.parse(model.unit)
        check_arguments(model.rate, model.normalization, model.momentum, model.epsilon)
        check_widths(model.width, model.cardinality, model.base_width, model.growth_rate, model.compression)
        if model.network == "imagenet_resnet":
            check_depth(model.depth, model.stages)
        elif model.network != "plain":
            units_per_stage(model.network, model.depth, model.bottleneck)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
