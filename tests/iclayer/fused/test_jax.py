"""What the kernels promise on JAX beside the contract: they stay right, and small, under its transformations."""

import numpy as np
import pytest
from passes import array, dropped, function, only

from iclayer import IC
from iclayer.fused import Dropout, kernels

jax = only("jax")
SEED = jax.numpy.array([5, 9], "uint32")


def drop(x):
    return kernels.drop(x, 0.5, SEED)


def normal(*shape):
    return jax.random.normal(jax.random.key(0), shape)


def test_nothing_is_kept_for_the_backward_pass_but_two_words():
    _, backward = jax.vjp(drop, normal(64, 100))
    assert [leaf.shape for leaf in jax.tree.leaves(backward)] == [(), ()]


def test_no_mask_is_in_memory_between_layers():
    """The whole of ten layers, both passes, holds less than one array of the activations' size."""

    def run(x, gradient):
        def layers(x):
            for call in range(10):
                x = kernels.drop(x, 0.1, SEED + jax.numpy.array([0, call], "uint32"))
            return x

        return jax.vjp(layers, x)[1](gradient)[0]

    x = normal(64, 1000)
    compiled = jax.jit(run).lower(x, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes / 2


@pytest.mark.parametrize("by", [jax.grad, lambda f: jax.jit(jax.grad(f)), lambda f: jax.grad(jax.checkpoint(f))])
def test_gradients_have_the_mask_of_the_outputs(by):
    x = normal(40, 10)
    np.testing.assert_allclose(by(lambda x: (drop(x) ** 2).sum())(x), 4 * drop(x), rtol=1e-6)


def test_derivatives_forward_and_of_any_order():
    x = normal(30)
    mask = array(drop(jax.numpy.ones(30)))
    y, tangent = jax.jvp(drop, (x,), (x,))
    np.testing.assert_array_equal(y, tangent)
    hessian = jax.hessian(lambda x: (drop(x) ** 3).sum())(x)
    np.testing.assert_allclose(hessian, np.diag(6 * x * mask**3), rtol=1e-5)
    third = jax.grad(lambda x: jax.grad(lambda x: jax.grad(lambda x: (drop(x) ** 3).sum())(x).sum())(x).sum())(x)
    np.testing.assert_allclose(third, 6 * mask**3, rtol=1e-6)


def test_vmap_has_one_mask_for_one_seed_and_its_own_for_each():
    x, seeds = normal(3, 50), jax.numpy.array([[5, 9], [5, 10], [6, 9]], "uint32")
    np.testing.assert_array_equal(jax.vmap(drop)(x), [drop(row) for row in x])
    each = jax.vmap(lambda x, seed: kernels.drop(x, 0.5, seed))(x, seeds)
    np.testing.assert_array_equal(each, [kernels.drop(row, 0.5, seed) for row, seed in zip(x, seeds, strict=True)])
    assert len({tuple(row) for row in np.asarray(each == 0)}) == 3
    slopes = jax.vmap(jax.grad(lambda x: (drop(x) ** 2).sum()))(x)
    np.testing.assert_allclose(slopes, 4 * jax.vmap(drop)(x), rtol=1e-6)


@pytest.mark.parametrize("layer", [IC, Dropout])
def test_steps_of_a_scan_are_calls_one_after_another(layer):
    x = normal(4, 20, 8)
    scanned, called = layer(0.5, seed=3), layer(0.5, seed=3)
    scanned.build((20, 8)), called.build((20, 8))
    _, trained = function(scanned)

    def step(others, x):
        outputs, others = scanned.stateless_call(trained, others, x, training=True)
        return others, outputs

    others, outputs = jax.lax.scan(step, [variable.value for variable in scanned.non_trainable_variables], x)
    np.testing.assert_allclose(outputs, [array(called(row, training=True)) for row in x], rtol=1e-5, atol=1e-6)
    for found, expected in zip(others, called.non_trainable_variables, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_eager_call_is_one_compiled_program():
    layer = Dropout(0.5, seed=0)
    kernels.drop.clear_cache()
    for _ in range(5):
        dropped(layer, (20, 3))
    assert kernels.drop._cache_size() == 1
