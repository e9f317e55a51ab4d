"""What the kernels promise on JAX beside the contract: they stay right, and small, under its transformations."""

import numpy as np
import pytest
from passes import DEVIATIONS, array, function, noise, only

from iclayer import IC
from iclayer.fused import kernels

jax = only("jax")
SEED = jax.numpy.array([5, 9], "uint32")


@pytest.fixture(params=["drop", "spread"])
def noisy(request):
    kernel = getattr(kernels, request.param)
    return lambda x, seed=SEED: kernel(x, 0.5, seed)


def normal(*shape):
    return jax.random.normal(jax.random.key(0), shape)


def test_nothing_is_kept_for_the_backward_pass_but_two_words(noisy):
    _, backward = jax.vjp(noisy, normal(64, 100))
    assert [leaf.shape for leaf in jax.tree.leaves(backward)] == [(), ()]


def test_no_noise_is_in_memory_between_layers(noisy):
    """The whole of ten layers, both passes, holds less than one array of the activations' size."""

    def run(x, gradient):
        def layers(x):
            for call in range(10):
                x = noisy(x, SEED + jax.numpy.array([0, call], "uint32"))
            return x

        return jax.vjp(layers, x)[1](gradient)[0]

    x = normal(64, 1000)
    compiled = jax.jit(run).lower(x, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < x.nbytes / 2


@pytest.mark.parametrize("by", [jax.grad, lambda f: jax.jit(jax.grad(f)), lambda f: jax.grad(jax.checkpoint(f))])
def test_gradients_have_the_noise_of_the_outputs(noisy, by):
    x = normal(40, 10)
    factors = noisy(jax.numpy.ones((40, 10)))
    np.testing.assert_allclose(by(lambda x: (noisy(x) ** 2).sum())(x), 2 * factors * noisy(x), rtol=1e-6)


def test_derivatives_forward_and_of_any_order(noisy):
    x = normal(30)
    factors = array(noisy(jax.numpy.ones(30)))
    y, tangent = jax.jvp(noisy, (x,), (x,))
    np.testing.assert_allclose(y, tangent, rtol=2**-22)
    hessian = jax.hessian(lambda x: (noisy(x) ** 3).sum())(x)
    np.testing.assert_allclose(hessian, np.diag(6 * x * factors**3), rtol=1e-5)
    third = jax.grad(lambda x: jax.grad(lambda x: jax.grad(lambda x: (noisy(x) ** 3).sum())(x).sum())(x).sum())(x)
    np.testing.assert_allclose(third, 6 * factors**3, rtol=1e-6)


def test_vmap_has_one_noise_for_one_seed_and_its_own_for_each(noisy):
    x, seeds = normal(3, 50), jax.numpy.array([[5, 9], [5, 10], [6, 9]], "uint32")
    np.testing.assert_allclose(jax.vmap(noisy)(x), [noisy(row) for row in x], rtol=2**-22)
    each = jax.vmap(noisy)(x, seeds)
    np.testing.assert_allclose(each, [noisy(row, seed) for row, seed in zip(x, seeds, strict=True)], rtol=2**-22)
    factors = jax.vmap(noisy)(jax.numpy.ones_like(x), seeds)
    assert len({tuple(row) for row in np.asarray(factors)}) == 3
    slopes = jax.vmap(jax.grad(lambda x, seed: (noisy(x, seed) ** 2).sum()))(x, seeds)
    np.testing.assert_allclose(slopes, 2 * factors * each, rtol=1e-6)


@pytest.mark.parametrize("layer", [IC, *DEVIATIONS])
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


@pytest.mark.parametrize("kind", DEVIATIONS)
def test_an_eager_call_is_one_compiled_program(kind):
    layer = kind(0.5, seed=0)
    kernels._noisy.clear_cache()
    for _ in range(5):
        noise(layer, (20, 3))
    assert kernels._noisy._cache_size() == 1
