"""The IC (Independent-Component) layer of Chen et al. 2019, arXiv 1905.05928, for Keras 3.

What a user puts into a network of their own, or looks into one with. It imports none of the other packages.
"""

from iclayer.distribute import AverageStatistics
from iclayer.fused import Uout
from iclayer.insert import insert_ic
from iclayer.layer import IC, ic, normalization_layer

__version__ = "0.1.0"
__all__ = ["IC", "AverageStatistics", "Uout", "ic", "insert_ic", "normalization_layer"]
