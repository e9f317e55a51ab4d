"""The config of a run: its keys, their defaults, and what they may be."""

import dataclasses
import inspect
import itertools
import math
import pathlib
from typing import Any, Literal

import models
from iclayer.layer import NORMALIZATIONS, check_arguments
from models.cifar import units_per_stage
from models.imagenet import check_depth
from models.plain import SIZES
from models.units import SHORTCUTS, Ordering
from training.errors import UserError, require

NEUTRAL = ("out", "resume", "data.data_dir", "data.on_bad_image", "train.tensorboard")  # what changes no result
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


def network(config: dict[str, Any]) -> str:
    """The name of a flattened config's network, such as "ResNet-B-110" or "plain medium"."""
    if config["model.network"] == "plain":
        return f"plain {config['model.size']}"
    return f"ResNet-{'B-' if config['model.bottleneck'] else ''}{config['model.depth']}"


def defaults(config: Config) -> dict[str, Any]:
    """The defaults, flattened, of the script that trains such a run."""
    script = "train_imagenet.py" if config.model.network == "imagenet_resnet" else "train_cifar.py"
    return flatten(Config().to_dict()) | DEFAULTS[script]


def validate(config: Config) -> None:
    """Checks what types do not say.

    Raises:
        UserError: a value that no run can have; the message names its key.
    """
    data, model, train = config.data, config.model, config.train
    require("seed", config.seed, 0 <= config.seed < 2**32, "an integer from 0 to 4294967295")
    examples = data.train_examples
    require("data.train_examples", examples, examples is None or examples >= 1, "null or an integer of at least 1")
    photographs = data.name == "imagenet2012"
    network = "imagenet_resnet" if photographs else "cifar_resnet or plain"
    require("model.network", model.network, model.network in network.split(" or "), f"{network} for {data.name}")
    require("data.train_examples", examples, examples is None or not photographs, f"null for {data.name}")
    require(
        "data.on_bad_image", data.on_bad_image, photographs or data.on_bad_image == "error", "error for such images"
    )
    require("train.epochs", train.epochs, train.epochs >= 1, "an integer of at least 1")
    batch = train.global_batch_size
    require("train.global_batch_size", batch, batch >= 1, "an integer of at least 1")
    call = train.steps_per_call
    require("train.steps_per_call", call, call == "auto" or call >= 1, "auto or an integer of at least 1")
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
        if model.network == "cifar_resnet":
            units_per_stage(model.depth, model.bottleneck)
        if model.network == "imagenet_resnet":
            check_depth(model.depth, model.stages)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
