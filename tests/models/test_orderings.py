"""The grammar of orderings, and the networks that they become."""

import re

import pytest
from graphs import Graph
from hypothesis import given, settings
from hypothesis import strategies as st
from orders import ORDER, operations

import models

NETWORKS = {  # a builder; weight layers of a unit, units of a stage
    "resnet": (lambda unit, **more: models.cifar_resnet(20, unit, **more), 2, 3),
    "resnet-b": (lambda unit, **more: models.cifar_resnet(29, unit, bottleneck=True, **more), 3, 3),
    "wide": (lambda unit, **more: models.wide_resnet(16, 2, unit, **more), 2, 2),
    "resnext": (lambda unit, **more: models.resnext(20, 2, 4, unit, **more), 3, 2),
    "densenet": (lambda unit, **more: models.densenet(13, 4, unit=unit, **more), 1, 3),
    "densenet-bc": (lambda unit, **more: models.densenet(16, 4, 0.5, True, unit, **more), 2, 2),
}
DENSE = {"merge": "concat", "transition": "AveragePooling2D"}


def test_the_table_has_these_rows():
    assert list(models.UNITS) == list(ORDER)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("unit", ORDER)
@pytest.mark.parametrize("network", NETWORKS)
def test_operation_order_of_the_built_graph(network, unit):
    build, convs, units = NETWORKS[network]
    built = Graph(build(unit))
    assert built.operations() == operations(ORDER[unit], convs, units, **DENSE if "dense" in network else {})


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("unit", ORDER)
def test_operation_order_of_a_plain_network(unit):
    stem, inner, _, _, head = ORDER[unit]
    built = Graph(models.plain("medium", unit))
    assert built.operations() == " ".join([stem, *[inner] * 5, head, "dense"]).split()


@pytest.mark.usefixtures("undrawn")
def test_without_additions_thirteen_orderings_are_nine_networks():
    alike = {}
    for unit in models.UNITS:
        layers = tuple(type(layer).__name__ for layer in models.plain("medium", unit).layers)
        alike.setdefault(layers, set()).add(unit)
    assert len(alike) == 9
    assert {"baseline", "bn-relu-conv", "wide"} in alike.values()
    assert {"relu-ic-conv", "ic-conv-relu", "conv-relu-ic"} in alike.values()


@pytest.mark.parametrize(
    ("unit", "why"),
    [
        ("resnet", "'resnet' is neither a unit nor a token"),
        ("Conv relu", "'Conv' is neither"),
        ("", "`conv` 0 times"),
        ("bn relu", "`conv` 0 times"),
        ("conv relu conv", "`conv` 2 times"),
        ("relu | conv", "this order"),
        ("conv || dropout | relu", "this order"),
        ("conv | bn | relu", "`|` more than once"),
        ("conv || bn || relu", "`||` more than once"),
        ("conv ; conv ; conv", "`;` more than once"),
        ("conv || pool dropout pool", "`pool` more than once"),
        ("conv ; relu", "`conv` 0 times, not once, in a part"),
        ("; conv", "`conv` 0 times, not once, in a part"),
        ("conv conv ; conv", "`conv` 2 times, not once, in a part"),
        ("conv ; conv | bn | relu", "`|` more than once, in a part"),
        ("conv ; relu | conv", "this order"),
        ("conv || dropout ; conv", "this order"),
        ("conv pool relu", "this order"),
        ("baseline ; wide", "'baseline' is neither"),
        (None, "not a string"),
    ],
)
def test_an_ordering_that_cannot_be_built_says_why(unit, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        models.cifar_resnet(8, unit)


def tokens(most):
    return st.lists(st.sampled_from(["bn", "dropout", "uout", "ic", "relu"]), max_size=most).map(" ".join)


parts = st.tuples(tokens(3), tokens(3), tokens(2))  # before and after `conv`, and behind `|`


@pytest.mark.usefixtures("undrawn")
@settings(max_examples=30, deadline=None)
@given(
    network=st.sampled_from(list(NETWORKS)),
    first=parts,
    second=st.none() | parts,
    unpooled=st.none() | tokens(2),
    pooled=tokens(2),
)
def test_any_other_string_builds_in_its_order(network, first, second, unpooled, pooled):
    text = " ; ".join(f"{before} conv {after} | {waiting}" for before, after, waiting in filter(None, (first, second)))
    pool = "" if unpooled is None else f"{unpooled} pool"
    (before, after, waiting), last = first, second or first
    order = (
        *(f"conv {after} {waiting}", f"{before} conv {after} {waiting}", f"{last[0]} conv {last[1]}", last[2]),
        f"{before} {unpooled or ''} pool {pooled}",
    )
    build, convs, units = NETWORKS[network]
    built = Graph(build(f"{text} || {pool} {pooled}", input_shape=(8, 8, 1)))
    assert built.operations() == operations(order, convs, units, **DENSE if "dense" in network else {})


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["conv", "bn", "ic", "relu", "uout", "|", ";", "||", "pool"]), max_size=9))
def test_any_words_are_an_ordering_or_are_refused_with_a_reason(words):
    try:
        ordering = models.Ordering.parse(" ".join(words))
    except ValueError as error:
        assert re.search(r"unit=.*, (which has|where)", str(error))
        return
    kinds = [token.kind for part in (*ordering.first, ordering.unpooled, ordering.pooled) for token in part]
    if ";" in words:
        kinds += [token.kind for part in ordering.last for token in part]
    assert sorted(kinds) == sorted(word for word in words if word not in ("|", ";", "||", "pool"))
