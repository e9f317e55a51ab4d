"""Networks of the paper, for any ordering of normalization, dropout, activation and weights.

Pure Keras, on any backend. It imports `iclayer` alone.
"""

from models.cifar import cifar_resnet
from models.imagenet import imagenet_resnet
from models.plain import plain
from models.units import UNITS, Ordering

__all__ = ["UNITS", "Ordering", "cifar_resnet", "imagenet_resnet", "plain"]
