"""What each unit must become, written out by hand; and the same for a whole network."""

# Stem; a weight layer; the last weight layer of a unit; after the addition; head.
ORDER = {
    "baseline": ("conv bn relu", "conv bn relu", "conv bn", "relu", "pool"),
    "relu-ic-conv": ("conv", "relu ic conv", "relu ic conv", "", "relu ic pool"),
    "ic-conv-relu": ("conv relu", "ic conv relu", "ic conv relu", "", "ic pool"),
    "conv-relu-ic": ("conv relu ic", "conv relu ic", "conv relu ic", "", "pool"),
    "bn-relu-conv": ("conv", "bn relu conv", "bn relu conv", "", "bn relu pool"),
    "relu-bn-conv": ("conv", "relu bn conv", "relu bn conv", "", "relu bn pool"),
    "relu-dropout-conv": ("conv", "relu dropout conv", "relu dropout conv", "", "relu dropout pool"),
    "conv-ic-relu": ("conv ic relu", "conv ic relu", "conv ic", "relu", "pool"),
    "conv-bn-relu-dropout": ("conv bn relu dropout", "conv bn relu dropout", "conv bn", "relu dropout", "pool"),
    "conv-dropout-bn-relu": ("conv dropout bn relu", "conv dropout bn relu", "conv dropout bn", "relu", "pool"),
    "li2018": ("conv bn relu", "conv bn relu", "conv bn", "relu", "pool dropout"),
    "kim2023": ("conv bn relu", "conv bn relu", "dropout conv bn", "relu", "dropout pool"),
    "wide": ("conv", "bn relu conv", "bn relu dropout conv", "", "bn relu pool"),
}


def operations(order, convs, units, merge="+", transition=""):
    """The operations of a network of three stages of `units` units of `convs` convs each.

    Args:
        order: a row of `ORDER`.
        convs, units: ints.
        merge: what a branch ends in.
        transition: what follows the weight layer between two stages; "": there is none.
    """
    stem, inner, last, waiting, head = order
    stage = " ".join([*[inner] * (convs - 1), last, merge, waiting] * units)
    between = f" {inner} {transition} " if transition else " "
    return f"{stem} {between.join([stage] * 3)} {head} dense".split()
