"""The sizes that networks of small images have: what is not valid is refused before anything is built."""

from iclayer.errors import require


def units_per_stage(network, depth, bottleneck=False):
    """n of a depth step * n + rest, where `step` weight layers are in three stages, a unit of each, and `rest` beside.

    Raises:
        ValueError: no n above 0 gives `depth`; the message names the nearest valid depths.
    """
    step, rest = {
        "cifar_resnet": (9 if bottleneck else 6, 2),
        "wide_resnet": (6, 4),  # the three shortcuts count
        "resnext": (9, 2),
        "densenet": (6 if bottleneck else 3, 4),  # the two transitions count
    }[network]
    n = (depth - rest) // step
    nearest = [step * k + rest for k in (n, n + 1) if k >= 1] or [step + rest]
    named = f"the nearest {'being' if len(nearest) == 1 else 'are'} {' and '.join(map(str, nearest))}"
    kind = f" for {bottleneck=}" if network in ("cifar_resnet", "densenet") else ""
    require("depth", n > 0 and depth == step * n + rest, f"{step}n + {rest}{kind}, {named}", f"{depth=}")
    return n


def check_widths(width=1, cardinality=1, base_width=1, growth_rate=1, compression=1.0):
    """Raises a ValueError for one that is not at least 1, or a `compression` that is not in (0, 1]."""
    widths = {"width": width, "cardinality": cardinality, "base_width": base_width, "growth_rate": growth_rate}
    for name, value in widths.items():
        require(name, value >= 1, "an int of at least 1", f"{name}={value}")
    require("compression", 0 < compression <= 1, "0 < compression <= 1", f"{compression=}")
