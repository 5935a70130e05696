"""Saved trajectories: a file that exists is never overwritten, and what cannot be saved or found says so by its input."""

import os
from concurrent.futures import ThreadPoolExecutor

import folder_paths
import pytest
import torch
from graft.errors import GraftError
from graft.host.engine import trajectory_files
from graft.inversion.trajectory import Trajectory
from graft.nodes.inversion import LoadTrajectory, SaveTrajectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for kind in ("output", "input"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    return tmp_path


def made(number: int = 0) -> Trajectory:
    return Trajectory(torch.full((2, 1, 4, 2, 2), float(number)), torch.tensor([1.0, 0.0]), "ddim", "m", "c")


def saved(prefix: str, number: int = 0) -> str:
    return SaveTrajectory.EXECUTE_NORMALIZED(trajectory=made(number), filename_prefix=prefix).ui.as_dict()["text"][0]


def number_in(name: str) -> float:
    return float(Trajectory.load(trajectory_files.find(name)).latents.mean())


@pytest.mark.parametrize(
    "prefix", ["cat", "cat[1]", "[!a]", "a?b", "a*b", "a**b", "**", "{a,b}", "sub folder/cat", "ü 猫", ".cat", "a_00007", "%year%"]
)
def test_every_name_is_taken_as_it_is_written_and_counted_up(prefix):
    names = [saved(prefix, number) for number in range(3)]
    assert len(set(names)) == 3 and [number_in(name) for name in names] == [0, 1, 2]
    assert set(trajectory_files.names()) == set(names)


@given(prefix=st.text(max_size=40))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_prefix_two_saves_are_two_files_or_an_error_that_names_it(prefix):
    before = {name: number_in(name) for name in trajectory_files.names()}
    try:
        names = [saved(prefix, number) for number in (1, 2)]
    except GraftError as refused:
        assert str(refused).startswith("filename_prefix: ")
        names = []
    else:
        assert len(set(names) - before.keys()) == 2 and [number_in(name) for name in names] == [1, 2]
    assert all(number_in(name) == number for name, number in before.items())


def test_of_many_writers_each_keeps_its_own_file():
    with ThreadPoolExecutor(12) as writers:
        names = list(writers.map(lambda number: saved("cat", number), range(60)))
    assert len(set(names)) == 60
    assert [number_in(name) for name in names] == list(range(60))


def test_a_file_that_comes_in_between_keeps_its_number(folders, monkeypatch):
    """Another program's file appears after the numbers were looked up."""
    saved("cat")
    folder, link = folders / "output" / "trajectories", os.link

    def late(partial, path):
        if path.name.startswith("cat_00002"):
            path.write_bytes(b"another's")
        link(partial, path)

    monkeypatch.setattr(os, "link", late)
    assert saved("cat") == "cat_00003.trajectory.safetensors"
    assert (folder / "cat_00002.trajectory.safetensors").read_bytes() == b"another's"


NOWHERE = ["", "   ", "../cat", "a/../../cat", "/cat", "cat\0", "x" * 300, f"{'x' * 300}/cat", f"{'a/' * 3000}cat"]


@pytest.mark.parametrize("prefix", NOWHERE, ids=lambda prefix: ascii(prefix[:20]))
def test_a_prefix_that_cannot_be_a_file_is_refused_by_its_name(prefix):
    with pytest.raises(GraftError, match=r"^filename_prefix: "):
        saved(prefix)
    assert not trajectory_files.names()


def test_a_file_in_the_place_of_a_folder_is_refused(folders):
    (folders / "output" / "trajectories").mkdir()
    (folders / "output" / "trajectories" / "cat").write_text("a file")
    with pytest.raises(GraftError, match=r"^filename_prefix: "):
        saved("cat/dog")


def test_a_full_disk_is_said_and_leaves_nothing(folders, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graft.inversion.trajectory.save_file", full)
    with pytest.raises(GraftError, match=r"^filename_prefix: .*No space left on device"):
        saved("cat")
    assert not list((folders / "output" / "trajectories").iterdir())


def test_a_link_out_of_the_folder_is_refused(folders):
    (folders / "elsewhere").mkdir()
    (folders / "output" / "trajectories").mkdir()
    (folders / "output" / "trajectories" / "out").symlink_to(folders / "elsewhere", target_is_directory=True)
    with pytest.raises(GraftError, match=r"^filename_prefix: "):
        saved("out/cat")
    assert not list((folders / "elsewhere").iterdir())


BROKEN = {"empty": b"", "HTML": b"<!DOCTYPE html><html></html>", "text": b"hello", "a header longer than the file": b"\xff" * 64}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_refused_by_its_input(folders, sd1, content):
    (folders / "input" / "cat.trajectory.safetensors").write_bytes(content)
    with pytest.raises(GraftError, match=r"^file: cat\.trajectory\.safetensors: cannot be read as a trajectory"):
        LoadTrajectory.EXECUTE_NORMALIZED(model=sd1, file="cat.trajectory.safetensors")


@pytest.mark.parametrize("name", ["cat\0", "x" * 300, "circle.trajectory.safetensors", "folder.trajectory.safetensors", "../cat", ".", ""])
def test_a_name_that_is_no_file_is_refused_by_its_input(folders, sd1, name):
    circle = folders / "input" / "circle.trajectory.safetensors"
    circle.symlink_to(circle)
    (folders / "input" / "folder.trajectory.safetensors").mkdir()
    assert LoadTrajectory.validate_inputs(file=name) is not True
    assert LoadTrajectory.fingerprint_inputs(file=name) in ("", "missing")
    with pytest.raises(GraftError, match=r"^file: "):
        LoadTrajectory.EXECUTE_NORMALIZED(model=sd1, file=name)
