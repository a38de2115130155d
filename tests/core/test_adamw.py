"""AdamW in one pass: torch's numbers, torch's state, and rows that no gradient has reached."""

import copy
import ctypes
import mmap
import sys

import pytest
import torch
from torch import nn

from lathe.core import native, optim, runtime, tables
from lathe.core.adamw import OnePassAdamW
from lathe.core.optim import AdamW, Muon, restore_state, state_tensors

pytestmark = pytest.mark.skipif(native.library() is None, reason=f"no compiled operations: {native.missing()}")
RULE = AdamW(weight_decay=0.1)
SHAPES = [(5000,), (3, 7), (70, 96), (1,), (16, 16, 4), (0, 4)]


def parameters(seed=0):
    torch.manual_seed(seed)
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def both(betas=(0.9, 0.999), decays=(0.1, 0.0, 0.3)):
    """The same parameters in three groups under ours and torch's rule."""

    def groups(parameters):
        return [{"params": parameters[i::3], "weight_decay": decay} for i, decay in enumerate(decays)]

    ours, theirs = parameters(), parameters()
    rules = (
        OnePassAdamW(groups(ours), 0.0, betas, 1e-8),
        torch.optim.AdamW(groups(theirs), 0.0, betas, 1e-8, fused=True),
    )
    return (ours, rules[0]), (theirs, rules[1])


def step(parameters, rule, number, without=frozenset()):
    torch.manual_seed(1000 + number)
    for place, group in enumerate(rule.param_groups):
        group["lr"] = 0.01 * (1 + place) / (1 + number)
    for place, parameter in enumerate(parameters):
        gradient = torch.randn_like(parameter) * 10.0 ** (place - 3)
        parameter.grad = None if place in without else gradient
    rule.step()


def state_of(parameters, rule):
    return [rule.state[p].get(name) for p in parameters for name in ("step", "exp_avg", "exp_avg_sq")]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.95, 0.98), (0.0, 0.5)])
def test_many_steps_are_those_of_torch(betas):
    (ours, rule), (theirs, reference) = both(betas)
    for number in range(50):
        without = {number % 7} if number % 3 == 0 else frozenset()  # a parameter that this step has not reached
        step(ours, rule, number, without)
        step(theirs, reference, number, without)
    for mine, other in zip([*ours, *state_of(ours, rule)], [*theirs, *state_of(theirs, reference)], strict=True):
        largest = float(other.detach().abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6 * largest)


def test_a_factor_is_that_of_gradients_multiplied_before():
    (ours, rule), (theirs, reference) = both()
    for number in range(3):
        for parameters, chosen in ((ours, rule), (theirs, reference)):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, 1.0 + number)
            for group in chosen.param_groups:
                group["lr"] = 0.01
        rule.update(0.125, {})
        for parameter in theirs:
            parameter.grad.mul_(0.125)
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)
        assert not mine.numel() or mine.grad.max() == 3.0  # not written to


def test_gradients_that_are_not_contiguous_are_read_by_their_places():
    (ours, rule), (theirs, reference) = both()
    for parameters, chosen in ((ours, rule), (theirs, reference)):
        torch.manual_seed(0)
        for parameter in parameters:
            parameter.grad = torch.randn(tuple(reversed(parameter.shape))).permute(*reversed(range(parameter.ndim)))
        chosen.param_groups[0]["lr"] = 0.1
        chosen.step()
    assert any(not parameter.grad.is_contiguous() for parameter in ours)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


def test_what_c_does_not_take_is_left_to_torch():
    layer = nn.Linear(4, 4)
    assert isinstance(AdamW()(layer)[0], OnePassAdamW)
    assert isinstance(Muon()(layer)[-1], OnePassAdamW)
    for other in (nn.Linear(4, 4, dtype=torch.float64), nn.Linear(4, 4)):
        other.weight = nn.Parameter(other.weight.detach().t())
        assert isinstance(AdamW()(other)[0], torch.optim.AdamW)


@pytest.mark.parametrize("first", [0, 1], ids=["torch goes on", "ours goes on"])
def test_a_run_goes_on_under_the_other_rule(first):
    """As checkpoints do it: flat names, tensors."""
    pairs = both()
    whole, (broken, before), (resumed, after) = both()[1 - first], pairs[first], pairs[1 - first]
    for number in range(10):
        step(*whole, number)
    for number in range(5):
        step(broken, before, number)
    model = nn.ParameterList(broken)
    saved = {name: tensor.clone() for name, tensor in state_tensors((before,), model).items()}
    assert {name.rpartition("/")[2] for name in saved} == {"step", "exp_avg", "exp_avg_sq"}
    for mine, kept in zip(resumed, broken, strict=True):
        mine.data.copy_(kept.data)
    restore_state((after,), nn.ParameterList(resumed), saved)
    for number in range(5, 10):
        step(resumed, after, number)
    for mine, other in zip(resumed, whole[0], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def test_the_numbers_do_not_depend_on_the_threads():
    def run(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            (ours, rule), _ = both()
            step(ours, rule, 0)
            return native.norm([p.grad for p in ours]), [p.detach().numpy().tobytes() for p in ours]
        finally:
            torch.set_num_threads(before)

    assert run(1) == run(2) == run(3)


@pytest.mark.parametrize("sizes", [[1], [4096, 4097, 15], [0, 3], [100_000, 1]])
def test_the_norm_is_that_of_all_numbers(sizes):
    torch.manual_seed(0)
    tensors = [torch.randn(size) for size in sizes]
    assert native.norm(tensors) == pytest.approx(float(torch.cat(tensors).double().norm()), rel=1e-12)


def test_the_norm_of_numbers_that_are_not_finite_is_not_either_and_large_ones_do_not_overflow():
    for bad in (torch.inf, -torch.inf, torch.nan):
        assert not torch.tensor(native.norm([torch.tensor([1.0, bad]), torch.ones(5)])).isfinite()
    assert native.norm([torch.full((2,), 3e38)]) == pytest.approx(3e38 * 2**0.5, rel=1e-6)


ROWS, WIDTH = 300, 24  # a width that is no multiple of a vector


class Words(nn.Module):
    """A table under a linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(ROWS, WIDTH)
        self.layer = nn.Linear(WIDTH, 3)

    def get_input_embeddings(self):
        return self.table

    def forward(self, ids):
        return self.layer(self.table(ids)).square().sum()


@pytest.fixture
def words(monkeypatch):
    monkeypatch.setattr(tables, "SMALLEST", 1)
    model = Words()
    tables.keep_gradients(model)
    return model


def learn(model, rule, steps, *, visits_all=False):
    """Steps over few words, in the first ones fewer; ``visits_all`` sweeps the whole table each time."""
    for number in steps:
        torch.manual_seed(number)
        model.zero_grad(set_to_none=True)
        model(torch.randint(0, 10 * (number + 1), (4, 5))).backward()
        for group in rule.param_groups:
            group["lr"] = 0.01 / (1 + number)
        rule.update(0.5, {} if visits_all else tables.kept(model))


def bits(model, rule):
    tensors = model.state_dict() | state_tensors((rule,), model)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rows_that_are_passed_over_have_the_bits_of_a_full_sweep(words, decay):
    swept, rule = copy.deepcopy(words), AdamW(weight_decay=decay)
    (ours,), (full,) = rule(words), rule(swept)
    learn(words, ours, range(8))
    learn(swept, full, range(8), visits_all=True)
    assert bits(words, ours) == bits(swept, full)
    assert not words.table.weight.grad.any(1).all()  # there were such rows


def test_rows_reached_before_a_resume_or_a_rewind_go_on_moving(words):
    (rule,) = RULE(words)
    learn(words, rule, range(3))
    weights, saved = copy.deepcopy(words.state_dict()), {k: v.clone() for k, v in state_tensors((rule,), words).items()}
    learn(words, rule, range(3, 8))
    expected = bits(words, rule)
    words.load_state_dict(weights)  # a rewind: the same optimizer, with earlier moments
    restore_state((rule,), words, {k: v.clone() for k, v in saved.items()})
    learn(words, rule, range(3, 8))
    assert bits(words, rule) == expected
    words.load_state_dict(weights)  # a resume: a new one
    (rule,) = RULE(words)
    restore_state((rule,), words, {k: v.clone() for k, v in saved.items()})
    learn(words, rule, range(3, 8))
    assert bits(words, rule) == expected


def test_a_rewind_forgets_the_rows_reached_since(words):
    (rule,) = RULE(words)
    learn(words, rule, range(2))
    saved = {name: tensor.clone() for name, tensor in state_tensors((rule,), words).items()}
    learn(words, rule, range(2, 25))
    assert rule._reached(words.table.weight, words.table).sum() > 150
    restore_state((rule,), words, saved)
    words.zero_grad(set_to_none=True)
    words(torch.tensor([299])).backward()
    moved = saved["table.weight/exp_avg"].any(1)
    moved[299] = True
    assert torch.equal(rule._reached(words.table.weight, words.table).bool(), moved)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which pages there are")
def test_rows_that_are_passed_over_take_no_memory(monkeypatch):
    monkeypatch.setattr(runtime, "MANY_BYTES", 1 << 20)
    model = nn.Module()
    model.table = nn.Embedding(1 << 15, 256)  # 32 MiB
    model.get_input_embeddings = lambda: model.table
    tables.keep_gradients(model)
    (rule,) = RULE(model)
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        model.table(torch.arange(16)).sum().backward()
        tables.norm(model)
        optim.update(rule, model, 0.01, 0.5)
    state = rule.state[model.table.weight]
    for tensor in (model.table.weight.grad, state["exp_avg"], state["exp_avg_sq"]):
        assert 0 < resident(tensor) <= 4 << 20  # of 32: the first rows, in pages as large as the system likes
        assert tensor[:16].all() and not tensor[16:].any()


def resident(tensor):
    """Bytes of a tensor on pages of its own that have memory."""
    pages = (ctypes.c_ubyte * -(-tensor.nbytes // mmap.PAGESIZE))()
    found = ctypes.CDLL(None).mincore(ctypes.c_void_p(tensor.data_ptr()), ctypes.c_size_t(tensor.nbytes), pages)
    assert found == 0
    return mmap.PAGESIZE * sum(page & 1 for page in pages)
