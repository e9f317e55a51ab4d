"""Networks of the paper and of Li et al. 2018, for any ordering of normalization, dropout, activation and weights.

Pure Keras, on any backend. It imports `iclayer` alone.
"""

from models.cifar import cifar_resnet
from models.densenet import densenet
from models.imagenet import imagenet_resnet
from models.plain import plain
from models.resnext import resnext
from models.units import UNITS, Ordering
from models.wide import wide_resnet

__all__ = ["UNITS", "Ordering", "cifar_resnet", "densenet", "imagenet_resnet", "plain", "resnext", "wide_resnet"]
