"""torch.compile in and around a reversible core."""

import shutil

import pytest
import torch
from torch import nn

from cores import DIRECTIONS, core_of, gradients, largest_error, naive_twin, run, same_bits
from revgan.networks import RevGenerator

pytestmark = [  # PyTorch's own, from within its compiler
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]
BACKENDS = [
    "aot_eager",
    pytest.param(
        "inductor",
        marks=pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _compiled_here_alone(tmp_path_factory):
    """A cache of their own: in the shared one, a process that was killed leaves half a library.

    Nor does anything depend on the CPU's vector instructions: each takes a compiler run to try.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        patch.setattr("torch._inductor.config.cpp.vec_isa_ok", False)
        yield


class Tiny(nn.Module):
    """Operations that a compiler fuses, and then computes in other bits."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.GroupNorm(1, 2)

    def forward(self, x):
        return self.norm(torch.tanh(self.conv(x)) * 1.1)


@pytest.fixture
def compiled():
    """Compiles a module in place, and afterwards forgets all that was compiled."""
    graphs = []

    def compile_module(module, backend, **options):
        compiler = torch._dynamo.lookup_backend(backend)

        def counting(graph, inputs):
            graphs.append(graph)
            return compiler(graph, inputs)

        module.compile(backend=counting, **options)
        return graphs

    yield compile_module
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_nets_are_recomputed_with_the_same_bits(backend, compiled):
    core = core_of(Tiny, 2 if backend == "aot_eager" else 1)  # the other calls a C++ compiler
    for block in core:
        compiled(block.f, backend)
        graphs = compiled(block.g, backend)
    x = torch.randn(1, 4, 4, 4)
    for direction in DIRECTIONS:
        core.memory_saving = True
        y, grads = gradients(core, x, direction)
        core.memory_saving = False
        assert graphs
        naive_y, naive_grads = gradients(core, x, direction)
        assert torch.equal(y, naive_y)
        assert same_bits(grads, naive_grads)


class Network(nn.Module):
    def __init__(self, direction, depth=2, **options):
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)
        self.core, self.direction = core_of(Tiny, depth, **options), direction

    def forward(self, x):
        return self.after(run(self.core, self.before(x), self.direction))


def network_gradients(network, x):
    return torch.autograd.grad(network(x).square().sum(), network.parameters())


@pytest.mark.parametrize("stored_blocks", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_module_around_the_core_is_compiled_up_to_it(direction, stored_blocks, compiled):
    network = Network(direction, stored_blocks=stored_blocks)
    x = torch.randn(1, 3, 4, 4)
    expected = network_gradients(network, x)
    graphs = compiled(network, "aot_eager")
    assert same_bits(network_gradients(network, x), expected)
    assert len(graphs) >= 2  # what comes before the core, and what comes after


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_naive_core_is_compiled_with_what_surrounds_it(backend, compiled):
    network = Network("forward", depth=1, memory_saving=False)
    x = torch.randn(1, 3, 4, 4)
    expected = network_gradients(network, x)
    graphs = compiled(network, backend, fullgraph=True)
    # Fused sums are rounded otherwise.
    assert largest_error(network_gradients(network, x), expected) < 1e-4
    assert len(graphs) == 1


def test_a_memory_saving_core_is_compiled_where_no_gradients_are_recorded(compiled):
    core = core_of(Tiny, 2)
    x = torch.randn(1, 4, 4, 4)
    expected = naive_twin(core)(x)
    compiled(core, "aot_eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(core(x), expected)


def test_a_lean_generator_is_compiled_around_what_it_recomputes(compiled):
    network = RevGenerator(2, 1, 1, width=2, depth=1, memory="lean", norm="batch")
    x = torch.randn(1, 1, 16, 16)
    used = [*network.encoder_a.parameters(), *network.core.parameters()]

    def grads():
        return torch.autograd.grad(network(x).square().sum(), used)

    expected = grads()
    compiled(network, "aot_eager")
    assert same_bits(grads(), expected)
