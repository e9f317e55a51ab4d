"""What the kernels promise on PyTorch beside the contract: they are right compiled, under autocast and torch.func."""

import shutil

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import DEVIATIONS, array, function, hashed, only, reference

from iclayer import IC
from iclayer.fused import BatchNormalization, Dropout, Uout, kernels
from iclayer.layer import NOISES

torch = only("torch")
KERNELS = [(Dropout, kernels.drop), (Uout, kernels.spread)]
BACKENDS = ["eager", "aot_eager", *["inductor"] * bool(shutil.which("g++"))]


@pytest.fixture(autouse=True)
def _compile_anew():
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("noise", NOISES)
def test_the_compiled_layer_normalizes_as_the_eager_one_and_its_noise_is_of_the_hash(noise, backend):
    shape = (8, 4, 4, 16)
    compiled, eager = IC(0.3, seed=5, noise=noise), IC(0.0)
    compiled.build(shape), eager.build(shape)
    run = torch.compile(lambda x: compiled(x, training=True), backend=backend)
    for call in range(3):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(call))
        ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        factors = torch.from_numpy(reference(NOISES[noise], 0.3, shape, 5, call))
        found, expected = run(ours), eager(theirs, training=True) * factors
        np.testing.assert_array_equal(array(found) == 0, factors == 0)
        np.testing.assert_allclose(array(found), array(expected), rtol=1e-4, atol=1e-5)
        found.pow(3).sum().backward(), expected.pow(3).sum().backward()
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-3)
    for found, expected in zip(compiled.norm.get_weights(), eager.norm.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(0, 100_000),
    seed=st.integers(0, 2**31 - 1),
    call=st.integers(0, 2**31 - 1),
)
def test_the_hash_is_that_of_the_other_backends(count, seed, call):
    found = kernels._hashed(torch.empty(count), torch.tensor([seed, call], dtype=torch.int32))
    np.testing.assert_array_equal(found, hashed((count,), seed, call))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "kernel"), KERNELS)
def test_noise_compiles_whole(kind, kernel, backend):
    """Without a break of the graph, though the words of the seed are not known then."""
    run = torch.compile(lambda x, seed: kernel(x, 0.3, seed), backend=backend, fullgraph=True)
    for call, count in enumerate((1000, 5, 1)):
        seed = torch.tensor([2**31 - 1, call], dtype=torch.int32)
        expected = reference(kind, 0.3, (count,), 2**31 - 1, call)
        np.testing.assert_allclose(run(torch.ones(count), seed), expected, rtol=2**-22)


def test_autocast_reaches_the_layer_as_it_reaches_keras_own():
    layer, stock = IC(0.0), keras.layers.BatchNormalization()
    x, kernel = torch.randn((8, 4, 4, 3)), torch.randn((5, 3, 1, 1))
    with torch.autocast("cpu", torch.bfloat16):
        narrow = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel).permute(0, 2, 3, 1)
        assert narrow.dtype == torch.bfloat16
        found, expected = layer(narrow, training=True), stock(narrow, training=True)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(array(found), array(expected), atol=3e-2)
    for weight, value in zip(layer.norm.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-3)


def test_functions_of_the_layer_are_transformed():
    layer = IC(0.3, seed=1)
    layer.build((6, 4))
    call, trained = function(layer)
    x = torch.randn((6, 4), generator=torch.Generator().manual_seed(0))

    def loss(x):
        return call(x, *trained)[0].pow(3).sum()

    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf), leaf)
    np.testing.assert_allclose(torch.func.grad(loss)(x).detach(), slope, rtol=1e-5, atol=1e-6)
    _, tangent = torch.func.jvp(loss, (x,), (x,))
    np.testing.assert_allclose(tangent.detach(), (slope * x).sum(), rtol=1e-4, atol=1e-4)
    slopes = torch.func.vmap(torch.func.grad(loss), randomness="same")(torch.stack([x, 2 * x]))
    np.testing.assert_allclose(slopes[0].detach(), slope, rtol=1e-4, atol=1e-5)


def test_activations_stay_channels_last_in_memory():
    """As convolutions take and give them: a view of NCHW, of that memory format."""
    x = torch.randn((2, 5, 6, 7), requires_grad=True)
    for layer in (BatchNormalization(), Dropout(0.5), Uout(0.5)):
        y = layer(x, training=True)
        assert y.permute(0, 3, 1, 2).is_contiguous(memory_format=torch.channels_last)
        (slope,) = torch.autograd.grad(y.sum(), x)
        assert slope.permute(0, 3, 1, 2).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize(("kind", "kernel"), KERNELS)
def test_a_gpu_has_noise_of_the_hash_where_compiled_and_the_same_each_time_where_not(kind, kernel):
    seed, x = torch.tensor([5, 9], dtype=torch.int32).cuda(), torch.ones(10_000).cuda()
    compiled = torch.compile(kernel, fullgraph=True)(x, 0.5, seed)
    np.testing.assert_allclose(compiled.cpu(), reference(kind, 0.5, (10_000,), 5, 9), rtol=2**-22)
    first, second = (kernel(x, 0.5, seed).cpu() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert 0.4 < (first < 1).float().mean() < 0.6


def test_16_random_bits_keep_any_rate_on_average_over_calls():
    layer, ones, calls = Dropout(2**-18, seed=0), torch.ones(100_000), 400
    found = sum(int((layer(ones, training=True) == 0).sum()) for _ in range(calls))
    assert abs(found - calls * 100_000 * 2**-18) < 6 * 20  # of 153; 20 is a bound of the standard deviation


@pytest.mark.parametrize("kind", DEVIATIONS)
def test_noise_leaves_pytorch_own_random_numbers_alone(kind):
    torch.manual_seed(0)
    first = torch.rand(3)
    torch.manual_seed(0)
    kind(0.5)(torch.ones(100), training=True)
    np.testing.assert_array_equal(torch.rand(3), first)
