"""A contender of training_speed.py: the same networks in PyTorch, channels_last, batches on the device from the start.

Ways: eager; compile (torch.compile); reduce-overhead (its CUDA graphs); graph and compile-graph (the whole step,
backward pass and Adam included, is one CUDA graph). ceilings: no training, but the rates of a copy and of a product.
"""

import os
import sys
import time

import torch

os.environ["KERAS_BACKEND"] = "torch"  # of models.units, which reads the orderings

from torch import nn

from benchmarks.contenders import turns
from models.depths import units_per_stage
from models.units import Ordering

WAYS = ("eager", "compile", "reduce-overhead", "graph", "compile-graph", "ceilings")
RATE, L2 = 0.05, 1e-4


def layers(tokens, channels, filters=0, size=0, stride=1):
    """The layers of an ordering's tokens, and the channels behind them."""
    out = []
    for token in tokens:
        if token.kind == "conv":
            out.append(nn.Conv2d(channels, filters, size, stride, size // 2))
            nn.init.kaiming_normal_(out[-1].weight)
            channels = filters
        if token.kind in ("bn", "ic"):
            out.append(nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01))
        if token.kind in ("dropout", "ic"):
            out.append(nn.Dropout(RATE))
        if token.kind == "relu":
            out.append(nn.ReLU())
    return nn.Sequential(*out), channels


class Unit(nn.Module):
    """A residual unit of `convs`, (size, filters, stride) each."""

    def __init__(self, ordering, channels, convs):
        super().__init__()
        inputs, branch = channels, []
        for index, conv in enumerate(convs, 1):
            before, weights, after, waiting = ordering.first if index < len(convs) else ordering.last
            tokens = before + weights + after + (waiting if index < len(convs) else ())
            part, channels = layers(tokens, channels, conv[1], conv[0], conv[2])
            branch.append(part)
        self.branch = nn.Sequential(*branch)
        stride = convs[0][2]
        same = stride == 1 and channels == inputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, channels, 1, stride)
        self.waiting, self.channels = layers(ordering.last.waiting, channels)

    def forward(self, x):
        return self.waiting(self.shortcut(x) + self.branch(x))


def resnet(depth, bottleneck, unit):
    """`models.cifar_resnet` with its defaults."""
    ordering = Ordering.parse(unit)
    stem, channels = layers(sum(ordering.first[1:], ()), 3, 16, 3)
    parts = [stem]
    for stage, width in enumerate((16, 32, 64)):
        for i in range(units_per_stage("cifar_resnet", depth, bottleneck)):
            stride = 2 if stage and not i else 1
            plain, bottle = [(3, width, stride), (3, width, 1)], [(1, width, stride), (3, width, 1), (1, 4 * width, 1)]
            parts.append(Unit(ordering, channels, bottle if bottleneck else plain))
            channels = parts[-1].channels
    before, _ = layers(ordering.first.before + ordering.unpooled, channels)
    pooled, _ = layers(ordering.pooled, channels)
    return nn.Sequential(*parts, before, nn.AdaptiveAvgPool2d(1), pooled, nn.Flatten(), nn.Linear(channels, 10))


def adam(model, device):
    """Adam with the penalty on the conv kernels: its gradient is twice the penalty's factor times the kernel."""
    kernels = [parameter for name, parameter in model.named_parameters() if parameter.ndim == 4]
    others = [parameter for name, parameter in model.named_parameters() if parameter.ndim != 4]
    groups = [{"params": kernels, "weight_decay": 2 * L2}, {"params": others}]
    return torch.optim.Adam(groups, lr=1e-3, eps=1e-7, fused=True, capturable=device == "cuda")


def trainer(wanted, device):
    """A function that does `wanted.steps` steps and waits for them; and the network."""
    model = resnet(wanted.depth, wanted.bottleneck == "true", wanted.unit).to(device, memory_format=torch.channels_last)
    optimizer, loss = adam(model, device), nn.CrossEntropyLoss()
    shape = (wanted.batch, 3, 32, 32)
    images = [torch.randn(shape, device=device).to(memory_format=torch.channels_last) for _ in range(16)]
    labels = [torch.randint(0, 10, (wanted.batch,), device=device) for _ in range(16)]
    network = model
    if wanted.way in ("compile", "compile-graph"):
        network = torch.compile(model)
    if wanted.way == "reduce-overhead":
        network = torch.compile(model, mode="reduce-overhead")

    def step(x, y):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=wanted.precision == "mixed_bfloat16"):
            logits = network(x)
        loss(logits.float(), y).backward()
        optimizer.step()

    one_step = step
    if wanted.way in ("graph", "compile-graph"):
        x, y = images[0].clone(), labels[0].clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                step(x, y)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(x, y)

        def one_step(next_x, next_y):
            x.copy_(next_x)
            y.copy_(next_y)
            graph.replay()

    def train():
        for i in range(wanted.steps):
            one_step(images[i % 16], labels[i % 16])
        if device == "cuda":
            torch.cuda.synchronize()

    return train, model


def ceilings(device, precision):
    """Bytes a second of a copy, read and written; operations a second of a matrix product."""
    count, size = (2**30, 8192) if device == "cuda" else (2**26, 2048)
    source, target = torch.randn(count, device=device), torch.empty(count, device=device)
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if "bf" in precision else torch.float32)
    return {
        "copy_bytes_per_second": 8 * count / fastest(lambda: target.copy_(source), device),
        "matrix_flops_per_second": 2 * size**3 / fastest(lambda: matrix @ matrix, device),
    }


def fastest(work, device):
    seconds = []
    for _ in range(10):
        begun = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main() -> None:
    wanted = turns.options()
    if wanted.way not in WAYS:
        sys.exit(f"error: expected torch- and one of {', '.join(WAYS)}, found {wanted.way}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")  # TF32, as XLA takes it
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name() if device == "cuda" else device
    facts = {"packages": {"torch": torch.__version__}, "backend": "torch", "devices": [name]}
    if wanted.way == "ceilings":
        turns.ready(**ceilings(device, wanted.precision), **facts)
        return
    train, model = trainer(wanted, device)
    begun = time.perf_counter()
    train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    turns.ready(parameters=parameters, first=time.perf_counter() - begun, **facts)
    turns.take(train)


if __name__ == "__main__":
    main()
