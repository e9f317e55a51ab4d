"""Networks of the paper, for any ordering of normalization, dropout, activation and weights."""

from models.cifar import cifar_resnet
from models.imagenet import imagenet_resnet
from models.plain import plain
from models.units import UNITS, Ordering

__all__ = ["UNITS", "Ordering", "cifar_resnet", "imagenet_resnet", "plain"]
