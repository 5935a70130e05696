"""Trajectories: what lies between stored levels, and files that can be trusted."""

import dataclasses
import json
import os

import pytest
import torch
from graft.inversion.trajectory import FORMAT, Trajectory, TrajectoryError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

SIGMAS = torch.tensor([14.6, 5.0, 1.0, 0.2, 0.0])


def trajectory(sigmas: torch.Tensor = SIGMAS, batch: int = 2) -> Trajectory:
    latents = torch.randn(len(sigmas), batch, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    return Trajectory(latents, sigmas, "ddim", "0123456789abcdef", "fedcba9876543210")


def test_stored_levels_come_back_bit_for_bit():
    stored = trajectory()
    for index, sigma in enumerate(SIGMAS.tolist()):
        assert torch.equal(stored.at(sigma), stored.latents[index])


def test_a_level_off_by_rounding_is_the_stored_one():
    stored = trajectory()
    assert torch.equal(stored.at(5.0 * (1 + 2e-7)), stored.latents[1])
    assert stored.nearest(5.0 * (1 + 0.9e-4)) == 1 and stored.nearest(5.0 * (1 + 1.2e-4)) is None
    assert stored.nearest(0.9e-6) == 4 and stored.nearest(1.2e-6) is None


@given(st.floats(0.0, 80.0))
@settings(deadline=None)
def test_straight_lines_in_sigma_are_interpolated_and_extended_exactly(sigma):
    generator = torch.Generator().manual_seed(1)
    picture, noise = (torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    levels = SIGMAS[:-1].double()
    straight = Trajectory(torch.stack([picture + level * noise for level in levels]), levels, "ddim", "m", "c")
    # A stored level answers for levels a hair's breadth away.
    torch.testing.assert_close(
        straight.at(sigma), picture + sigma * noise, rtol=0, atol=1e-3 if straight.nearest(sigma) is not None else 1e-9
    )


def test_between_two_levels_only_those_two_count():
    stored = trajectory()
    middle = stored.at(3.0)
    torch.testing.assert_close(middle, (stored.latents[1] + stored.latents[2]) / 2)


def test_stages_are_shown_in_the_range_of_pictures():
    stored = trajectory()
    torch.testing.assert_close(stored.scaled_to_picture(0), stored.latents[0] / (1 + 14.6**2) ** 0.5)
    assert torch.equal(stored.scaled_to_picture(4), stored.clean)


@pytest.mark.parametrize(
    "latents, sigmas",
    [
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([2.0, 1.0])),
        (torch.zeros(1, 1, 4, 2, 2), torch.tensor([1.0])),
        (torch.zeros(3, 4, 2, 2), torch.tensor([2.0, 1.0, 0.0])),
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([0.0, 1.0, 2.0])),
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([2.0, 1.0, 1.0])),
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([2.0, float("nan"), 0.0])),
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([float("inf"), 1.0, 0.0])),
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([2.0, 1.0, -1.0])),
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([2, 1, 0])),
        (torch.zeros(3, 1, 4, 2, 2), torch.tensor([[2.0], [1.0], [0.0]])),
        (torch.zeros(3, 0, 4, 2, 2), torch.tensor([2.0, 1.0, 0.0])),
        (torch.zeros(3, 1, 4, 2, 2, dtype=torch.int64), torch.tensor([2.0, 1.0, 0.0])),
        (torch.full((3, 1, 4, 2, 2), float("nan")), torch.tensor([2.0, 1.0, 0.0])),
        (torch.full((3, 1, 4, 2, 2), float("-inf")), torch.tensor([2.0, 1.0, 0.0])),
    ],
)
def test_what_is_no_trajectory_cannot_be_made(latents, sigmas):
    with pytest.raises(TrajectoryError, match=r"^a trajectory"):
        Trajectory(latents, sigmas, "ddim", "m", "c")


@pytest.mark.parametrize(
    "bottlenecks",
    [
        torch.zeros(3, 1, 8, 1, 1),
        torch.zeros(2, 2, 8, 1, 1),
        torch.zeros(2, 8, 1, 1),
        torch.full((2, 1, 8, 1, 1), float("nan")),
        torch.zeros(2, 1, 8, 1, 1, dtype=torch.int32),
    ],
)
def test_bottlenecks_of_another_shape_or_that_are_no_numbers_are_refused(bottlenecks):
    good = torch.zeros(3, 1, 4, 2, 2), torch.tensor([2.0, 1.0, 0.0]), "ddim", "m", "c"
    assert Trajectory(*good, torch.zeros(2, 1, 8, 1, 1)).bottlenecks is not None
    with pytest.raises(TrajectoryError, match=r"^a trajectory's bottlenecks"):
        Trajectory(*good, bottlenecks)


def test_a_saved_trajectory_comes_back_bit_for_bit(tmp_path):
    stored, path = trajectory(), tmp_path / "new" / "folder" / "cat.safetensors"
    stored.save(path)
    loaded = Trajectory.load(path, stored.model)
    for field in dataclasses.fields(Trajectory):
        ours, theirs = getattr(loaded, field.name), getattr(stored, field.name)
        assert torch.equal(ours, theirs) if isinstance(theirs, torch.Tensor) else ours == theirs
    assert [file.name for file in path.parent.iterdir()] == ["cat.safetensors"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_is_never_overwritten(tmp_path, monkeypatch, links):
    if not links:  # as on FAT and some network drives
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "cat.safetensors"
    trajectory(batch=3).save(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        trajectory(batch=1).save(path)
    assert path.read_bytes() == before
    assert torch.equal(Trajectory.load(path).latents, trajectory(batch=3).latents)
    assert [file.name for file in tmp_path.iterdir()] == ["cat.safetensors"]


def refused(*_):
    raise PermissionError("no links here")


def test_a_failed_save_leaves_no_file(tmp_path, monkeypatch):
    path = tmp_path / "cat.safetensors"

    def full_disk(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr("graft.inversion.trajectory.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        trajectory(batch=3).save(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "cat.safetensors"
    trajectory().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(TrajectoryError, match=r"cat\.safetensors: cannot be read"):
        Trajectory.load(path)


def test_a_file_of_another_model_is_refused_with_both_fingerprints(tmp_path):
    path = tmp_path / "cat.safetensors"
    trajectory().save(path)
    with pytest.raises(TrajectoryError, match=r"another model.*0123456789abcdef.*ffff"):
        Trajectory.load(path, "ffff")
    assert Trajectory.load(path).model == "0123456789abcdef"


def test_files_that_are_no_trajectories_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"latents": torch.zeros(2, 1, 4, 2, 2), "sigmas": torch.tensor([1.0, 0.0])}, path)
    with pytest.raises(TrajectoryError, match="not a trajectory"):
        Trajectory.load(path)
    with pytest.raises(TrajectoryError, match="cannot be read"):
        Trajectory.load(tmp_path / "missing.safetensors")


def test_a_file_of_a_newer_version_asks_for_an_update(tmp_path):
    path = tmp_path / "cat.safetensors"
    trajectory().save(path)
    tensors = load_file(path)
    metadata = {"format": FORMAT, "version": 99, "solver": "ddim", "model": "m", "conditioning": "c"}
    save_file(tensors, path, metadata={FORMAT: json.dumps(metadata)})
    with pytest.raises(TrajectoryError, match="newer Graft"):
        Trajectory.load(path)


METADATA = {"format": FORMAT, "version": 1, "solver": "ddim", "model": "m", "conditioning": "c"}
TENSORS = {"latents": torch.zeros(2, 1, 4, 2, 2), "sigmas": torch.tensor([1.0, 0.0])}


@pytest.mark.parametrize(
    "metadata",
    [
        "null",
        "[]",
        "[1]",
        "{",
        "1e400",
        '"graft"',
        "[" * 100_000,
        *(json.dumps({**METADATA, "version": version}) for version in (None, True, "1", "two", [1], {}, -1, 0, 1.5, float("inf"))),
        *(json.dumps({key: value for key, value in METADATA.items() if key != missing}) for missing in METADATA if missing != "format"),
        json.dumps({**METADATA, "model": 7}),
    ],
    ids=lambda text: text[:40],
)
def test_whatever_else_is_written_in_a_file_is_refused_by_its_name(tmp_path, metadata):
    path = tmp_path / "cat.safetensors"
    save_file(TENSORS, path, metadata={FORMAT: metadata})
    with pytest.raises(TrajectoryError, match=r"^cat\.safetensors: "):
        Trajectory.load(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"latents": TENSORS["latents"]},
        {**TENSORS, "latents": TENSORS["latents"] * float("nan")},
        {**TENSORS, "sigmas": torch.tensor([0.0, 1.0])},
        {**TENSORS, "bottlenecks": torch.zeros(3)},
    ],
)
def test_a_file_whose_tensors_are_no_trajectory_is_refused_by_its_name(tmp_path, tensors):
    path = tmp_path / "cat.safetensors"
    save_file(TENSORS, path, metadata={FORMAT: json.dumps(METADATA)})
    assert Trajectory.load(path).solver == "ddim"
    save_file(tensors, path, metadata={FORMAT: json.dumps(METADATA)})
    with pytest.raises(TrajectoryError, match=r"^cat\.safetensors: "):
        Trajectory.load(path)


# What streams are shown


def flow_and_added() -> list[Trajectory]:
    latents = torch.tensor([8.0, 4.0, 2.0]).view(3, 1, 1, 1, 1)
    return [Trajectory(latents, torch.tensor([3.0, 1.0, 0.0]), "ddim", "m", "c", mixing=mixing) for mixing in ("added", "flow")]


@pytest.mark.parametrize(
    ("sigma", "index"),
    [(3.0, 1), (2.0, 1), (1.0, 2), (0.5, 2), (0.0, 2), (1 + 5e-5, 2), (1 + 5e-4, 1)],
)
def test_plain_inversion_showed_the_latents_of_the_next_lower_level(sigma, index):
    added, flow = flow_and_added()
    stored, value = float(added.sigmas[index]), float(added.latents[index])
    scale = ((1 + sigma**2) / (1 + stored**2)) ** 0.5
    assert float(added.shown_at(sigma)) == pytest.approx(value * scale, rel=1e-5)
    assert float(flow.shown_at(sigma)) == value


def test_the_released_code_never_shows_the_highest_level_and_stays_a_level_behind():
    added, flow = flow_and_added()
    assert [added.released_level(sigma) for sigma in (3.0, 2.0, 1.0, 0.5)] == [1.0, 1.0, 1.0, 0.5]
    assert float(added.left_behind_at(1.0)) == 4.0  # nothing is above the first evaluation's level that was ever shown
    assert float(added.left_behind_at(0.0)) == pytest.approx(4.0 / 2**0.5)
    assert float(flow.left_behind_at(0.0)) == 4.0 and float(flow.left_behind_at(1.0)) == 4.0
    close = dataclasses.replace(flow, sigmas=torch.tensor([3.0, 2.9, 2.8]))
    assert float(close.left_behind_at(2.8)) == 4.0


def test_bottlenecks_belong_to_every_level_but_the_last():
    latents, sigmas = torch.zeros(3, 1, 4, 2, 2), torch.tensor([2.0, 1.0, 0.0])
    kept = Trajectory(latents, sigmas, "ddim", "m", "c", torch.arange(2.0).view(2, 1, 1, 1, 1))
    assert [float(kept.bottleneck_at(sigma)) for sigma in (2.0, 1.0)] == [0.0, 1.0]
    assert kept.bottleneck_at(0.0) is None and kept.bottleneck_at(1.5) is None
    assert Trajectory(latents, sigmas, "ddim", "m", "c").bottleneck_at(2.0) is None


@pytest.mark.parametrize(("steps", "skip", "level"), [(50, 0.58, 29), (50, 0.0, 0), (4, 0.99, 3), (4, 0.5, 2), (3, 1 / 3, 1)])
def test_a_part_of_the_steps_is_counted_whatever_floats_make_of_it(steps, skip, level):
    assert Trajectory(torch.zeros(steps + 1, 1, 4, 1, 1), torch.arange(steps + 1.0).flip(0), "ddim", "m", "c").after(skip) == level


def test_a_message_lists_eight_levels_and_of_more_the_last():
    def told(levels: int) -> str:
        with pytest.raises(TrajectoryError) as refusal:
            Trajectory(torch.zeros(levels, 1, 4, 1, 1), torch.arange(1.0, levels + 1), "ddim", "m", "c")
        return str(refusal.value)

    assert told(8).endswith("got 1, 2, 3, 4, 5, 6, 7, 8") and told(9).endswith("got 1, 2, 3, 4, 5, 6, 7, 8, ... 9")


def test_it_is_printed_in_a_line():
    assert repr(trajectory()) == "Trajectory(ddim, 4 steps from 14.6 to 0, latents (2, 4, 3, 5), model 0123456789abcdef)"
