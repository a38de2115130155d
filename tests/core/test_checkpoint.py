"""Checkpoints: whole or absent, and never silently wrong."""

import pytest
import torch

from lathe.core.checkpoint import TENSORS, newest, save


def write(folder, steps=(1, 2, 3), keep=2):
    for step in steps:
        save(folder, step, {"w": torch.full((4,), float(step))}, {"best": step}, keep)


def test_the_newest_comes_back_bit_for_bit(tmp_path):
    write(tmp_path)
    found = newest(tmp_path)
    assert (found.step, found.values) == (3, {"best": 3})
    assert torch.equal(found.tensors["w"], torch.full((4,), 3.0))


def test_only_so_many_are_kept(tmp_path):
    write(tmp_path, range(5), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000003", "step-000000004"]


@pytest.mark.parametrize("bit", [0, 100, 500, -1])
def test_one_flipped_bit_is_seen_and_the_one_before_is_used(tmp_path, capsys, bit):
    write(tmp_path)
    file = tmp_path / "step-000000003" / TENSORS
    data = bytearray(file.read_bytes())
    data[bit % len(data)] ^= 1
    file.write_bytes(data)
    assert newest(tmp_path).step == 2
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "cut"])
def test_a_broken_file_is_passed_over(tmp_path, broken, how):
    write(tmp_path)
    file = tmp_path / "step-000000003" / broken
    data = file.read_bytes()
    file.unlink()
    if how != "missing":
        file.write_bytes(b"" if how == "empty" else data[: len(data) // 2])
    assert newest(tmp_path).step == 2


def test_what_a_kill_left_behind_is_ignored(tmp_path):
    write(tmp_path)
    (tmp_path / ".part").mkdir()
    (tmp_path / ".part" / TENSORS).write_bytes(b"half")
    assert newest(tmp_path).step == 3
    write(tmp_path, (4,))
    assert newest(tmp_path).step == 4


def test_nothing_saved_is_no_error(tmp_path):
    assert newest(tmp_path / "absent") is None
