"""Products in C against float64, for every size, stride and option; their order of sums; what is left to torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from lathe.core.native import products

needs_unit = pytest.mark.skipif(not products.has_unit(), reason="this processor has no unit for products in bfloat16")
HALF, SINGLE = torch.bfloat16, torch.float32
SUM = 2.0**-20  # float32 sums, of the sum of magnitudes
ROUNDING = {HALF: 2.0**-8, SINGLE: 0.0}  # of the result


def numbers(seed, *shape, gap=0, dtype=HALF):
    """Of some size, with ``gap`` numbers between two lines."""
    generator = np.random.default_rng(seed)
    wide = torch.from_numpy(generator.normal(size=(*shape[:-1], shape[-1] + gap)))
    return wide.to(dtype)[..., : shape[-1]]


def assert_product(found, left, right, dtype, *terms):
    """``found`` is left right + terms, which are given in float64, within what rounding explains."""
    exact = sum(terms, left @ right)
    sizes = sum((term.abs() for term in terms), left.abs() @ right.abs())
    allowed = sizes * SUM + exact.abs() * ROUNDING[dtype]
    assert found.dtype == dtype and found.shape == exact.shape
    assert bool(((found.double() - exact).abs() <= allowed).all())


SIZES = st.sampled_from([32, 64, 96, 160, 416])
ROWS = st.integers(0, 70) | st.sampled_from([320, 331, 641, 700])


@needs_unit
@settings(max_examples=60, deadline=None)
@given(ROWS, SIZES, SIZES, st.sampled_from([0, 1, 8, 32]), st.sampled_from([HALF, SINGLE]),
       st.sampled_from([HALF, SINGLE]), st.booleans(), st.booleans())  # fmt: skip
def test_products_with_a_weight_equal_float64(rows, outputs, inputs, gap, weight_type, dtype, with_bias, with_more):
    x, dy = numbers(0, rows, inputs, gap=gap), numbers(1, rows, outputs, gap=gap)
    weight = numbers(2, outputs, inputs, gap=gap, dtype=weight_type)
    exact = weight.to(HALF).double()
    for left, columns, function, right in (
        (x, outputs, products.product, exact.T), (dy, inputs, products.input_gradient, exact)
    ):  # fmt: skip
        bias = numbers(3, columns, dtype=SINGLE) if with_bias else None
        more = numbers(4, rows, columns, gap=gap) if with_more else None
        found = function(left, weight, bias, more, dtype)
        terms = [term.double() for term in (bias, more) if term is not None]
        assert_product(found, left.double(), right, dtype, *terms)


@needs_unit
@settings(max_examples=40, deadline=None)
@given(ROWS, SIZES, SIZES, st.sampled_from([0, 1, 8, 32]))
def test_the_gradient_of_a_weight_and_of_a_bias_equal_float64(rows, outputs, inputs, gap):
    x, dy = numbers(0, rows, inputs, gap=gap), numbers(1, rows, outputs, gap=gap)
    sums = torch.full((outputs,), torch.nan)
    assert_product(products.weight_gradient(dy, x, sums), dy.double().T, x.double(), SINGLE)
    assert_product(sums[None], torch.ones(1, rows, dtype=torch.float64), dy.double(), SINGLE)


@needs_unit
@pytest.mark.parametrize(("rows", "outputs", "inputs"), [(40, 64, 2080), (33, 2080, 64), (70, 1120, 1120)])
def test_a_weight_that_is_taken_in_several_groups_is_whole(rows, outputs, inputs):
    x, dy, weight = numbers(0, rows, inputs), numbers(1, rows, outputs), numbers(2, outputs, inputs)
    assert_product(products.product(x, weight), x.double(), weight.double().T, HALF)
    assert_product(products.input_gradient(dy, weight), dy.double(), weight.double(), HALF)
    assert_product(products.weight_gradient(dy, x), dy.double().T, x.double(), SINGLE)


def all_three(rows, outputs, inputs):
    x, dy, weight = numbers(0, rows, inputs), numbers(1, rows, outputs), numbers(2, outputs, inputs, dtype=SINGLE)
    sums = torch.empty(outputs)
    found = products.product(x, weight), products.input_gradient(dy, weight), products.weight_gradient(dy, x, sums)
    return *found, sums


@needs_unit
@pytest.mark.parametrize("shape", [(50, 96, 160), (333, 384, 96), (700, 32, 416)])
def test_neither_threads_nor_another_run_change_a_bit(shape):
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 1, 3, 7):
            torch.set_num_threads(count)
            results.append(all_three(*shape))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


@needs_unit
def test_a_line_of_a_result_does_not_depend_on_the_lines_around_it():
    x, weight = numbers(0, 75, 96), numbers(1, 64, 96, dtype=SINGLE)
    whole = products.product(x, weight)
    for first, last in ((0, 1), (7, 50), (40, 75)):
        assert torch.equal(products.product(x[first:last], weight), whole[first:last])


@needs_unit
def test_columns_lines_and_copies_are_read_where_they_stand():
    x, weight = numbers(0, 40, 64), numbers(1, 32, 64)
    expected = products.product(x, weight)
    assert torch.equal(products.product(x.T.contiguous().T, weight), expected)
    assert torch.equal(products.product(torch.cat([x, x], 1)[:, 64:], weight), expected)
    assert torch.equal(products.product(x.float(), weight), expected)
    one = x[:1].expand(40, 64)
    assert torch.equal(products.product(one, weight), products.product(one.contiguous(), weight))
    ones = torch.ones((), dtype=HALF).expand(40, 32)
    assert_product(products.weight_gradient(ones, x), ones.double().T, x.double(), SINGLE)


@needs_unit
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_reaches_what_is_made_of_it_and_nothing_else(value):
    x, dy, weight = numbers(0, 37, 64), numbers(1, 37, 32), numbers(2, 32, 64, dtype=SINGLE)
    x[36, 5] = dy[36, 3] = value
    sums = torch.empty(32)
    y, dx, dw = products.product(x, weight), products.input_gradient(dy, weight), products.weight_gradient(dy, x, sums)
    assert not y[36].isfinite().any() and y[:36].isfinite().all()
    assert not dx[36].isfinite().any() and dx[:36].isfinite().all()
    assert not dw[3].isfinite().any() and not dw[:, 5].isfinite().any() and dw[4, 6:].isfinite().all()
    assert not sums[3].isfinite() and sums[4:].isfinite().all()
    weight[7, 8] = value
    y = products.product(x[:36], weight)
    assert not y[:, 7].isfinite().any() and y[:, :7].isfinite().all()


@needs_unit
def test_what_they_are_not_made_for_is_left_to_torch():
    weight = torch.zeros(64, 96)
    assert products.suits(32, weight) and products.suits(33, weight.bfloat16())
    assert not products.suits(31, weight)
    assert not products.suits(100_000, weight)
    assert not any(products.suits(64, other) for other in (weight[:60], weight[:, :33], weight[:0], weight.T))
    assert not any(products.suits(64, other) for other in (weight.double(), weight.to("meta"), weight[0]))


def test_without_the_unit_nothing_suits(monkeypatch):
    monkeypatch.setattr(products, "_granted", lambda _: None)
    assert not products.suits(64, torch.zeros(64, 96))


@needs_unit
def test_tensors_without_memory_have_the_shapes_and_types_of_real_ones():
    def shapes():
        x, dy, weight = torch.zeros(40, 96).bfloat16(), torch.zeros(40, 64).bfloat16(), torch.zeros(64, 96)
        made = (
            products.product(x, weight), products.input_gradient(dy, weight, dtype=SINGLE),
            products.weight_gradient(dy, x, torch.zeros(64)),
        )  # fmt: skip
        return [(one.shape, one.dtype, one.stride()) for one in made]

    with FakeTensorMode():
        without = shapes()
    assert without == shapes()
