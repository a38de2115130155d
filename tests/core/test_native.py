"""Operations in C: parity with torch's, odd shapes, randomness, and what happens where there is no compiler."""

import itertools
import os

import numpy as np
import pytest
import torch

from lathe.core import native, runtime
from lathe.core.errors import LatheError
from lathe.core.native import compiled
from lathe.core.packing import dropout as slow

needs_library = pytest.mark.skipif(native.library() is None, reason=f"no compiled operations: {native.missing()}")


def rows_of(lengths, *, is_causal=False):
    lengths = np.array(lengths, np.int64)
    return native.Rows(np.cumsum(lengths) - lengths, lengths, int(lengths.sum()), is_causal)


def tensors(rows, heads, groups, width, dtype=torch.float32, behind=0):
    torch.manual_seed(0)
    size = rows.tokens + behind
    return [torch.randn(size, h, width).to(dtype).requires_grad_() for h in (heads, groups, groups)]


def reference(query, key, value, rows, scaling, weights_of=lambda weights, _: weights):
    """The definition, row by row, in float64."""
    out = torch.zeros(query.shape, dtype=torch.float64)
    share = query.shape[1] // key.shape[1]
    for number, (start, length) in enumerate(zip(rows.starts, rows.lengths, strict=True)):
        q, k, v = (x[start : start + length].double().transpose(0, 1) for x in (query, key, value))
        k, v = k.repeat_interleave(share, 0), v.repeat_interleave(share, 0)
        scores = scaling * q @ k.mT
        if rows.is_causal:
            scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf)
        out[start : start + length] = (weights_of(scores.softmax(-1), number) @ v).transpose(0, 1)
    return out


def gradients(out, inputs):
    torch.manual_seed(1)
    return torch.autograd.grad(out, inputs, torch.randn(out.shape, dtype=torch.float64).to(out.dtype))


LENGTHS = ([1], [1, 1, 1], [5, 16, 17, 3], [31, 1, 64, 2], [128, 7])


@needs_library
@pytest.mark.parametrize(
    ("lengths", "is_causal", "shape"),
    list(itertools.product(LENGTHS, (False, True), ((1, 1, 16), (4, 4, 32), (4, 2, 48), (6, 1, 64)))),
)
def test_attention_equals_its_definition_in_outputs_and_gradients(lengths, is_causal, shape):
    rows = rows_of(lengths, is_causal=is_causal)
    inputs = tensors(rows, *shape, behind=3)
    ours, theirs = native.attention(*inputs, rows, 0.2, 0.0), reference(*inputs, rows, 0.2)
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=5e-6)
    for mine, other in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
        assert torch.equal(mine[rows.tokens :], torch.zeros_like(mine[rows.tokens :]))


@needs_library
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e8, 1e18])
def test_beside_large_scores_the_gradient_is_of_the_same_weights_as_the_output(size, is_causal):
    """Queries and keys are 0 or ``size`` in every place: float32 has their scores exactly, and many are equal."""
    rows = rows_of([6, 20], is_causal=is_causal)
    query, key, value = tensors(rows, 2, 2, 16)
    with torch.no_grad():
        for x in (query, key):
            x.copy_(size * (torch.rand(len(x), 2, 1) < 0.5))
    inputs = (query, key, value)
    ours, theirs = native.attention(*inputs, rows, 0.25, 0.0), reference(*inputs, rows, 0.25)
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=5e-6)
    scale = torch.tensor([size, size, 1.0])
    for mine, other, factor in zip(gradients(ours, inputs), gradients(theirs, inputs), scale, strict=True):
        torch.testing.assert_close(mine / factor, other / factor, rtol=1e-5, atol=1e-5)


@needs_library
@pytest.mark.parametrize("is_causal", [False, True])
def test_a_row_of_scores_that_are_all_minus_infinity_attends_to_nothing_as_in_torch(is_causal):
    rows = rows_of([5, 20], is_causal=is_causal)
    query, key, value = inputs = tensors(rows, 2, 2, 16)
    with torch.no_grad():
        key.copy_(-1e20 * torch.rand_like(key))
        query[[3, 9]] = 1e20
        query[[4, 10]] = 0
    ours = native.attention(*inputs, rows, 0.25, 0.0)
    parts = [slice(start, start + length) for start, length in zip(rows.starts, rows.lengths, strict=True)]
    theirs = torch.cat(
        [
            torch.nn.functional.scaled_dot_product_attention(
                *(x[part].transpose(0, 1) for x in inputs), scale=0.25, is_causal=is_causal
            ).transpose(0, 1)
            for part in parts
        ]
    )
    assert torch.equal(ours[[3, 9]], torch.zeros(2, 2, 16)) and ours[[4, 10]].abs().min() > 0
    torch.testing.assert_close(ours[[3, 4, 9, 10]], theirs[[3, 4, 9, 10]], rtol=0, atol=5e-6)
    of_rows = torch.zeros_like(ours)
    of_rows[[3, 9]] = 1
    for gradient in torch.autograd.grad(ours, inputs, of_rows):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@needs_library
def test_without_memory_attention_says_so():
    """A row for which no machine has memory; nothing of it is read."""
    rows = native.Rows(np.array([0]), np.array([1 << 24]), 1 << 24, is_causal=False)
    x = torch.zeros(1, 1, 16)
    with pytest.raises(LatheError, match=r"no memory is left for attention; lower train\.tokens_per_batch"):
        native.attention(x, x, x, rows, 1.0, 0.0)
    short = native.Rows(np.array([0]), np.array([1]), 1, is_causal=False)
    x.requires_grad_()
    out = native.attention(x, x, x, short, 1.0, 0.0)
    short.lengths[0] = 1 << 24
    with pytest.raises(LatheError, match="no memory is left for attention"):
        out.sum().backward()


@needs_library
def test_attention_in_bf16_is_as_exact_as_its_inputs():
    rows = rows_of([25, 9, 40])
    inputs = tensors(rows, 4, 4, 32, torch.bfloat16)
    ours, theirs = native.attention(*inputs, rows, 0.2, 0.0), reference(*inputs, rows, 0.2)
    assert (ours.double() - theirs).abs().max() < 2**-8 * theirs.abs().max()
    for mine, other in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        assert (mine.double() - other.double()).abs().max() < 2**-6 * other.abs().max()


@needs_library
def test_tokens_that_are_apart_in_memory_are_read_where_they_are():
    rows = rows_of([5, 12])
    both = torch.randn(rows.tokens, 3, 2, 16)  # query, key and value of one product
    apart = [both[:, i] for i in range(3)]
    together = [x.contiguous() for x in apart]
    assert torch.equal(native.attention(*apart, rows, 0.2, 0.0), native.attention(*together, rows, 0.2, 0.0))
    turned = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in apart]
    assert torch.equal(native.attention(*turned, rows, 0.2, 0.0), native.attention(*together, rows, 0.2, 0.0))


@needs_library
def test_dropout_in_attention_takes_weights_away_alike_forward_and_backward():
    rows, p = rows_of([24, 10]), 0.3
    query, key, value = tensors(rows, 2, 2, 32)
    ones = torch.eye(32)[: rows.lengths.max()]
    value = torch.cat([ones[:n] for n in rows.lengths])[:, None].repeat(1, 2, 1).requires_grad_()  # shows each weight
    torch.manual_seed(7)
    shown = native.attention(query, key, value, rows, 0.2, p)
    weights = native.attention(query, key, value, rows, 0.2, 0.0)
    masks = (shown != 0).double() / (1 - p)  # [N, H, place of the key in its row]
    torch.testing.assert_close(shown.double(), weights.double() * masks, rtol=0, atol=1e-6)
    kept = [
        masks[start : start + length, :, :length].transpose(0, 1)
        for start, length in zip(rows.starts, rows.lengths, strict=True)
    ]
    theirs = reference(query, key, value, rows, 0.2, lambda weights, row: weights * kept[row])
    inputs = (query, key, value)
    for mine, other in zip(gradients(shown, inputs), gradients(theirs, inputs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 4096, 4097, 300_001])
def test_dropout_zeroes_the_same_numbers_forward_and_backward(dtype, count):
    x = (torch.rand(count) + 0.5).to(dtype).requires_grad_()
    torch.manual_seed(3)
    out = native.dropout(x, 0.25)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    factor = torch.tensor(4 / 3, dtype=torch.float32)
    assert torch.equal(gradient, ((out != 0).float() * factor).to(dtype))
    assert torch.equal(out, ((x.detach().float() * factor) * (out != 0)).to(dtype))


@needs_library
@pytest.mark.parametrize("p", [0.0001, 0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_independently_of_neighbours_lines_and_seeds(p):
    torch.manual_seed(11)
    first, second = (native.dropout(torch.ones(4_000_000), p) != 0 for _ in range(2))
    deviation = 4.5 * (p * (1 - p) / first.numel()) ** 0.5  # 4.5 standard deviations of the mean
    lines = first[: 976 * 4096].view(976, 4096)
    pairs = (first[1:], first[:-1]), (lines[1:], lines[:-1]), (first, second), (first[16:], first[:-16])
    assert abs(first.float().mean() - (1 - p)) < deviation
    for one, other in pairs:
        both = (one & other).float().mean() - (1 - p) ** 2
        assert abs(both) < 3 * deviation


FUNCTIONS = {
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "relu": torch.relu,
}


@needs_library
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("count", [1, 16, 33, 4097, 9000])
def test_an_activation_and_its_gradient_equal_torchs(count, kind):
    torch.manual_seed(0)
    x = (8 * torch.randn(count)).requires_grad_()
    exact = x.detach().double().requires_grad_()
    ours, theirs = native.activation(x, kind), FUNCTIONS[kind](exact)
    torch.testing.assert_close(ours.double(), theirs, rtol=2e-6, atol=1e-6)
    (mine,), (other,) = gradients(ours, [x]), gradients(theirs, [exact])
    torch.testing.assert_close(mine.double(), other, rtol=1e-5, atol=2e-6)


@needs_library
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_an_activation_in_bf16_is_as_exact_as_its_rounding(kind):
    """Every bfloat16 from 1e-6 to 100 in size; outputs to half a place and a 20,000th, gradients to 3 of 10,000."""
    x = torch.cat([sign * torch.arange(0x3586, 0x42C8, dtype=torch.int16).view(torch.bfloat16) for sign in (1, -1)])
    x.requires_grad_()
    exact = x.detach().double().requires_grad_()
    ours, theirs = native.activation(x, kind), FUNCTIONS[kind](exact)
    assert ((ours - theirs).abs() <= 2**-8 * theirs.abs() + 5e-5 * exact.abs().clamp(max=1)).all()
    slopes = [torch.autograd.grad(out.sum(), given)[0].double() for out, given in ((ours, x), (theirs, exact))]
    assert ((slopes[0] - slopes[1]).abs() <= 2**-8 * slopes[1].abs() + 3e-4).all()


@needs_library
@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_of_the_largest_numbers_and_of_nan_are_what_they_tend_to(kind, dtype):
    x = torch.tensor([-3e38, -100.0, -20.0, 0.0, 20.0, 100.0, 3e38, torch.inf, torch.nan]).to(dtype)
    torch.testing.assert_close(native.activation(x, kind), x.clamp(min=0), rtol=0, atol=0, equal_nan=True)


@needs_library
def test_one_seed_gives_the_same_numbers_with_one_thread_and_with_two():
    rows, threads = rows_of([30, 4, 17, 60]), torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            inputs = tensors(rows, 4, 2, 32)
            torch.manual_seed(5)
            out = native.attention(*inputs, rows, 0.2, 0.1)
            results.append([out, *gradients(out, inputs), native.dropout(torch.ones(100_000), 0.1)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@needs_library
def test_a_nan_is_not_swallowed():
    rows = rows_of([9, 4])
    query, key, value = tensors(rows, 2, 2, 16)
    with torch.no_grad():
        query[3, 0, 0] = torch.nan
    out = native.attention(query, key, value, rows, 0.2, 0.0)
    assert out[3, 0].isnan().all() and not out[[2, 4]].isnan().any() and not out[9:].isnan().any()


@needs_library
def test_what_it_is_not_made_for_is_left_to_torch():
    rows = rows_of([5, 9])
    good = tensors(rows, 2, 2, 16)
    assert native.suits(rows, *good)
    assert not native.suits(rows, *(x.double() for x in good))
    assert not native.suits(rows, *(x[..., :8] for x in good))
    assert not native.suits(rows_of([4000]), *good)
    assert not native.suits(rows, *(x.to("meta") for x in good))


@pytest.fixture
def anew(monkeypatch):
    """The search for the library from the start, and again afterwards."""
    compiled._found.cache_clear()
    yield monkeypatch
    compiled._found.cache_clear()


@pytest.mark.parametrize("trouble", ["no compiler", "failing compiler", "no room for it"])
def test_without_the_library_dropout_and_attention_work_and_it_says_why(anew, tmp_path, trouble):
    anew.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if trouble == "no compiler":
        anew.setattr(compiled.shutil, "which", lambda _: None)
        reason = "no C compiler"
    elif trouble == "failing compiler":
        anew.setattr(compiled, "OPTIONS", ("-no-such-option",))
        reason = "no-such-option"
    else:
        (tmp_path / "cache").write_text("a file where the folder should be")
        reason = "cache"
    assert native.library() is None
    assert reason in native.missing()
    kept = (slow.dropout(torch.ones(10_000), 0.5) != 0).float().mean()
    assert 0.45 < kept < 0.55
    rows = rows_of([5])
    assert not native.suits(rows, *tensors(rows, 2, 2, 16))


@pytest.mark.parametrize(
    ("script", "reason"),
    [("exit 1", "failed"), ("exit 0", "kernels.so"), ("read line", "failed"),
     (r"printf '\351\377' >&2; exit 1", "failed"),
     ('[ "$1" = --version ] && exit 0; while [ "$1" != -o ]; do shift; done; exec {cc} -shared -o "$2" -xc /dev/null',
      "has no attention_forward")],
)  # fmt: skip
def test_a_compiler_that_does_not_work_stops_nothing(anew, tmp_path, script, reason):
    cc = compiled.shutil.which("cc") or pytest.skip("no C compiler")
    (tmp_path / "cc").write_text("#!/bin/sh\n" + script.replace("{cc}", cc), encoding="ascii")
    (tmp_path / "cc").chmod(0o755)
    anew.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    anew.setattr(compiled.shutil, "which", lambda _: str(tmp_path / "cc"))
    assert reason in native.missing()


@needs_library
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_library_is_not_loaded_but_made_again(anew, tmp_path, damage):
    """A process that loads one cut short is killed by the system (SIGBUS)."""
    anew.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library()
    (file,) = (tmp_path / "lathe").iterdir()
    whole = file.read_bytes()
    file.unlink()  # this process runs it: other bytes go into another file
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + (b"" if damage == "cut" else bytes([whole[middle] ^ 1]) + whole[middle + 1 :]))
    compiled._found.cache_clear()
    assert native.library() is not None
    assert whole in [found.read_bytes() for found in (tmp_path / "lathe").iterdir()]


@needs_library
@pytest.mark.parametrize("what", ["folder", "library"])
@pytest.mark.parametrize("how", ["may write", "owns it"])
def test_what_other_users_may_write_to_is_not_loaded(anew, tmp_path, what, how):
    anew.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library()
    (file,) = (tmp_path / "lathe").iterdir()
    path = file if what == "library" else file.parent
    if how == "may write":
        path.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        pytest.skip("only root gives files away")
    compiled._found.cache_clear()
    assert native.library() is None
    assert f"{path}: other users may write to it" in native.missing()


def test_without_a_home_it_says_so_and_a_relative_cache_is_none(anew, tmp_path):
    anew.setenv("XDG_CACHE_HOME", "relative")
    anew.setenv("HOME", str(tmp_path))
    assert runtime.cache_folder() == tmp_path / ".cache" / "lathe"

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    anew.setattr(compiled.Path, "home", homeless)
    assert "no home folder" in native.missing()


@needs_library
def test_it_is_compiled_once_and_then_found(anew, tmp_path, capsys):
    anew.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library() is not None
    (made,) = (tmp_path / "lathe").iterdir()
    changed = os.stat(made).st_mtime_ns
    compiled._found.cache_clear()
    assert native.library() is not None
    assert os.stat(made).st_mtime_ns == changed
    assert capsys.readouterr().err.count("compiling") == 1
