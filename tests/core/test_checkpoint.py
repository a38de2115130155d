"""Checkpoints: whole or absent, and never silently wrong."""

import os
import random
import shutil

import pytest
import torch

from lathe.core import checkpoint
from lathe.core.checkpoint import STATE, TENSORS, Saver, newest, of_step, save
from lathe.core.digest import MANIFEST
from lathe.core.errors import DiskError

FILES = (TENSORS, STATE, MANIFEST)


def write(folder, steps=(1, 2, 3), keep=2, **options):
    for step in steps:
        save(folder, step, {"w": torch.full((4,), float(step))}, {"best": step, "losses": [0.1, 0.25]}, keep, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_comes_back_bit_for_bit(tmp_path):
    write(tmp_path)
    found = newest(tmp_path)
    assert (found.step, found.values) == (3, {"best": 3, "losses": [0.1, 0.25]})
    assert torch.equal(found.tensors["w"], torch.full((4,), 3.0))
    assert of_step(tmp_path, 2).step == 2 and of_step(tmp_path, 1) is None


def test_there_is_no_pickle_in_a_checkpoint(tmp_path):
    write(tmp_path)
    assert names(tmp_path / "step-000000003") == sorted(FILES)


def test_only_so_many_are_kept(tmp_path):
    write(tmp_path, range(5), keep=2)
    assert names(tmp_path) == ["step-000000003", "step-000000004"]


def test_a_copy_under_another_name_is_the_users_and_stays(tmp_path):
    write(tmp_path, (1,))
    shutil.copytree(tmp_path / "step-000000001", tmp_path / "step-000000001-copy")
    write(tmp_path, (2, 3), keep=1)
    assert names(tmp_path) == ["step-000000001-copy", "step-000000003"]
    assert newest(tmp_path).step == 3


def test_one_that_is_spared_is_kept_beside_them(tmp_path):
    write(tmp_path, range(1, 6), keep=1, spare=2)
    assert names(tmp_path) == ["step-000000002", "step-000000005"]


def test_later_ones_that_were_passed_over_do_not_count_and_go(tmp_path):
    write(tmp_path, (7, 8))
    for path in tmp_path.iterdir():
        (path / STATE).write_text("broken", encoding="utf-8")
    write(tmp_path, (5,), keep=1)
    assert newest(tmp_path).step == 5
    assert names(tmp_path) == ["step-000000005"]


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.torture)])
def test_any_flipped_bit_of_any_file_is_seen_and_the_one_before_is_used(tmp_path, capsys, count):
    write(tmp_path)
    draw = random.Random(count)
    sizes = {name: (tmp_path / "step-000000003" / name).stat().st_size for name in FILES}
    for _ in range(count):
        name = draw.choice(FILES)
        byte, bit = draw.randrange(sizes[name]), draw.randrange(8)
        file = tmp_path / "step-000000003" / name
        whole = file.read_bytes()
        data = bytearray(whole)
        data[byte] ^= 1 << bit
        file.write_bytes(data)
        assert newest(tmp_path).step == 2, (name, byte, bit)
        assert f"step-000000003: passed over: {name} is" in capsys.readouterr().err or name == MANIFEST
        file.write_bytes(whole)
    assert newest(tmp_path).step == 3
    print(f"SURVIVAL bit_flips {count}")


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.torture)])
def test_a_file_cut_anywhere_is_seen_and_the_one_before_is_used(tmp_path, count):
    write(tmp_path)
    draw = random.Random(count)
    for _ in range(count):
        file = tmp_path / "step-000000003" / draw.choice(FILES)
        whole = file.read_bytes()
        os.truncate(file, draw.randrange(len(whole)))
        assert newest(tmp_path).step == 2
        file.write_bytes(whole)
    assert newest(tmp_path).step == 3
    print(f"SURVIVAL truncations {count}")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_passed_over(tmp_path, name, capsys):
    write(tmp_path)
    (tmp_path / "step-000000003" / name).unlink()
    assert newest(tmp_path).step == 2
    assert f"{name} is missing" in capsys.readouterr().err


def test_when_none_is_whole_it_is_said_that_the_run_begins_again(tmp_path, capsys):
    write(tmp_path)
    for path in tmp_path.iterdir():
        (path / MANIFEST).unlink()
    assert newest(tmp_path) is None
    assert "no checkpoint is left" in capsys.readouterr().err


def test_what_a_kill_left_behind_is_removed_at_the_start(tmp_path):
    write(tmp_path)
    (tmp_path / ".part").mkdir()
    (tmp_path / ".part" / TENSORS).write_bytes(b"half")
    assert newest(tmp_path).step == 3
    assert not (tmp_path / ".part").exists()


def test_nothing_saved_is_no_error(tmp_path, capsys):
    assert newest(tmp_path / "absent") is None
    assert capsys.readouterr().err == ""


def test_the_older_ones_go_only_after_the_new_one_was_read_back(tmp_path, monkeypatch):
    write(tmp_path)
    whole = checkpoint._fault
    monkeypatch.setattr(checkpoint, "_fault", lambda path: "bytes differ" if path.name.endswith("4") else whole(path))
    with pytest.raises(DiskError, match="was written and reads differently: bytes differ"):
        write(tmp_path, (4,), keep=1)
    assert names(tmp_path) == ["step-000000002", "step-000000003"]


def test_a_saver_copies_at_once_and_tells_of_a_full_disk_once(tmp_path, monkeypatch):
    told, tensor = [], torch.zeros(3)
    with Saver(tmp_path, 2, lambda step, error: told.append((step, error.found))) as saver:
        saver.start(1, {"w": tensor}, values := {"list": [1]})
        tensor += 1
        values["list"].append(2)
        saver.finish()
        found = newest(tmp_path)
        assert torch.equal(found.tensors["w"], torch.zeros(3)) and found.values == {"list": [1]}

        def full(*_):
            raise DiskError("full")

        monkeypatch.setattr(checkpoint, "save", full)
        saver.start(2, {"w": tensor}, {})
        saver.check(wait=True)
        saver.check(wait=True)
        assert told == [(2, "full")]
        saver.start(3, {"w": tensor}, {})
        with pytest.raises(DiskError):
            saver.finish()
    assert told == [(2, "full")]
    assert newest(tmp_path).step == 1
