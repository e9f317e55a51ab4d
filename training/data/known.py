"""What is known of data sets by their names."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Known:
    """A data set of small images.

    Args:
        shape: (height, width, channels).
        num_classes: int.
        shift: of the augmentation that suits it (4.2), in pixels.
        flip: whether a mirrored image keeps its label.
        sums: of training pixels, training labels, test pixels and test labels, in whatever order images come.
    """

    shape: tuple[int, int, int]
    num_classes: int
    shift: int
    flip: bool
    sums: tuple[int, int, int, int] | None = None


KNOWN = {
    "cifar10": Known((32, 32, 3), 10, 4, True, (18_540_676_619, 225_000, 3_733_374_198, 45_000)),
    "cifar100": Known((32, 32, 3), 100, 4, True, (18_729_378_732, 2_475_000, 3_755_249_331, 495_000)),
    "fashion_mnist": Known((28, 28, 1), 10, 2, True, (3_431_114_169, 270_000, 573_469_082, 45_000)),
    "digits": Known((8, 8, 1), 10, 1, False),  # a mirrored 2 is no 2
}
ILSVRC2012 = "imagenet2012"
