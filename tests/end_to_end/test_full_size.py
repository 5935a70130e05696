"""Runs at full size, without the gigabytes: what a random checkpoint consists of, and what is changed in a workflow."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from benchmark import full_size, random_checkpoint
from building.build_workflows import named
from graph import to_prompt
from PIL import Image
from safetensors.torch import load_file

# ComfyUI's class of the family, and the parameters of the published UNet and autoencoder.
PUBLISHED = {
    "sd15": ("SD15", 859_520_964, 83_653_863),
    "sd21": ("SD20", 865_910_724, 83_653_863),
    "sdxl": ("SDXL", 2_567_463_684, 83_653_863),
}
UNET, AUTOENCODER = "model.diffusion_model.", "first_stage_model."
SETTINGS = full_size.Settings("random.safetensors", "drawn.png", "adapter.safetensors", side=256, steps=4)


def part(state: dict, prefix: str) -> dict:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


@pytest.fixture(scope="module", params=random_checkpoint.KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def state(kind) -> dict:
    return random_checkpoint.layout(kind)


@pytest.fixture(scope="module")
def detected(state):
    """What ComfyUI makes of the names and shapes."""
    from comfy import model_detection

    assert model_detection.unet_prefix_from_state_dict(state) == UNET
    return model_detection.model_config_from_unet(state, UNET)


class TestLayout:
    def test_the_host_detects_the_family(self, kind, detected):
        assert type(detected).__name__ == PUBLISHED[kind][0]

    def test_parts_have_the_published_sizes(self, kind, state):
        sizes = [sum(tensor.numel() for tensor in part(state, prefix).values()) for prefix in (UNET, AUTOENCODER)]
        assert tuple(sizes) == PUBLISHED[kind][1:]

    def test_the_detected_network_takes_every_weight(self, state, detected):
        detected.set_inference_dtype(torch.float16, None)
        network = detected.get_model({}, device="meta").diffusion_model
        network.load_state_dict(part(state, UNET), strict=True, assign=True)  # raises on any name or shape that differs

    def test_the_host_s_text_encoder_takes_every_weight(self, state, detected):
        encoder = detected.clip_target().clip(device="meta", dtype=torch.float16)
        missing, unexpected = encoder.load_state_dict(detected.process_clip_state_dict(dict(state)), strict=False, assign=True)
        assert all("text_projection" in name or "logit_scale" in name for name in missing)  # published files leave them out as well
        assert all("position_ids" in name for name in unexpected)

    def test_weights_are_float16(self, state):
        assert {tensor.dtype for tensor in state.values() if tensor.is_meta} == {torch.float16}


def test_the_host_takes_every_weight_of_the_adapter(tmp_path):
    from comfy.controlnet import load_controlnet

    file = tmp_path / "adapter.safetensors"
    random_checkpoint.write(file, random_checkpoint.ADAPTER)
    network = load_controlnet(str(file)).t2i_model
    written = load_file(file)
    assert network.state_dict().keys() == written.keys()
    assert all(value.half().equal(written[name]) for name, value in network.state_dict().items())


class TestFile:
    @pytest.fixture
    def small(self, monkeypatch):
        """A layout that is quickly written, with a constant and an odd number of bytes."""
        layout = {
            "code": torch.arange(5),
            "scale": torch.tensor(4.5),
            "norm.weight": torch.empty(3, dtype=torch.float16, device="meta"),
            "conv.weight": torch.empty(64, 32, 3, 3, dtype=torch.float16, device="meta"),
        }
        monkeypatch.setattr(random_checkpoint, "layout", lambda kind: layout)
        return layout

    def test_safetensors_reads_what_was_written(self, small, tmp_path):
        random_checkpoint.write(tmp_path / "small.safetensors", "sd15")
        read = load_file(tmp_path / "small.safetensors")
        assert {name: (tensor.shape, tensor.dtype) for name, tensor in read.items()} == {
            name: (tensor.shape, tensor.dtype) for name, tensor in small.items()
        }
        assert read["code"].equal(small["code"]) and read["scale"] == 4.5
        assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]

    def test_the_seed_decides_every_byte(self, small, tmp_path):
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            random_checkpoint.write(tmp_path / name, "sd15", seed)
        a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
        assert a == b != c

    def test_a_layer_keeps_the_size_of_what_passes(self, small, tmp_path):
        random_checkpoint.write(tmp_path / "small.safetensors", "sd15")
        weight = load_file(tmp_path / "small.safetensors")["conv.weight"].float()
        passed = torch.nn.functional.conv2d(torch.randn(4, 32, 16, 16, generator=torch.Generator().manual_seed(0)), weight)
        assert passed.std() == pytest.approx(1.0, abs=0.05)


@pytest.fixture(scope="module")
def prompt_of(server):
    """The prompt of a shipped workflow, by its name."""
    object_info = server.client.object_info()
    return lambda name: to_prompt(json.loads(named(name).read_text(encoding="utf-8")), object_info)


class TestWorkflow:
    @pytest.mark.parametrize(
        "name, changes",
        [
            (
                "Free-Prompt-Editing",
                {
                    ("CheckpointLoaderSimple", "ckpt_name", "random.safetensors"),
                    ("LoadImage", "image", "drawn.png"),
                    ("ImageScale", "width", 256),
                    ("ImageScale", "height", 256),
                    ("BasicScheduler", "steps", 4),
                },
            ),
            (
                "Free-Prompt-Editing of a generation",
                {
                    ("CheckpointLoaderSimple", "ckpt_name", "random.safetensors"),
                    ("EmptyLatentImage", "width", 256),
                    ("EmptyLatentImage", "height", 256),
                    ("BasicScheduler", "steps", 4),
                },
            ),
            (
                "InjectFusion SD2.1",
                {
                    ("CheckpointLoaderSimple", "ckpt_name", "random.safetensors"),
                    ("EmptyLatentImage", "width", 256),
                    ("EmptyLatentImage", "height", 256),
                    ("BasicScheduler", "steps", 4),
                },
            ),
            (
                "TF-ICON cross-domain",
                {
                    ("CheckpointLoaderSimple", "ckpt_name", "random.safetensors"),
                    ("LoadImage", "image", "drawn.png"),
                    ("ResizeImageMaskNode", "resize_type.width", 256),
                    ("ResizeImageMaskNode", "resize_type.height", 256),
                    ("GraftUniformTimeScheduler", "steps", 4),
                },
            ),
            (
                "FreeCompose sketch composition",
                {
                    ("CheckpointLoaderSimple", "ckpt_name", "random.safetensors"),
                    ("ControlNetLoader", "control_net_name", "adapter.safetensors"),
                    ("LoadImage", "image", "drawn.png"),
                    ("ImageScale", "width", 256),
                    ("ImageScale", "height", 256),
                    ("GraftOptimizeLatent", "stage.iterations", 4),
                },
            ),
        ],
    )
    def test_files_size_and_steps_are_changed_and_nothing_else(self, prompt_of, name, changes):
        before = prompt_of(name)
        after = full_size.at_full_size(before, SETTINGS)
        assert before == prompt_of(name)
        assert after.keys() == before.keys()
        found = set()
        for number, node in before.items():
            assert {**after[number], "inputs": None} == {**node, "inputs": None}
            pairs = after[number]["inputs"].items()
            found |= {(node["class_type"], key, value) for key, value in pairs if value != node["inputs"][key]}
        assert found == changes

    @pytest.mark.parametrize(("steps", "injections"), [(full_size.STEPS, 2), (full_size.STEPS - 1, 1)])
    def test_injectfusion_injects_more_than_once_in_the_default_steps_and_in_no_fewer(self, prompt_of, steps, injections):
        from comfy.model_sampling import EPS, ModelSamplingDiscrete
        from comfy.samplers import calculate_sigmas
        from graft.nodes.h_space import AsymmetricSamplerNode

        nodes = {node["class_type"]: node["inputs"] for node in prompt_of("InjectFusion SD2.1").values()}
        chosen = {name.removeprefix("preset."): value for name, value in nodes["GraftAsymmetricSampler"].items()}
        intervals = AsymmetricSamplerNode.execute(**{**chosen, "preset": {"preset": chosen["preset"]}}).result[0].intervals
        sampling = type("Sampling", (ModelSamplingDiscrete, EPS), {})()
        sigmas = calculate_sigmas(sampling, nodes["BasicScheduler"]["scheduler"], steps)
        assert int(intervals.injected(sampling, sigmas).sum()) == injections

    def test_a_linked_size_stays_linked(self):
        prompt = {
            "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
            "2": {"class_type": "EmptyLatentImage", "inputs": {"width": ["3", 0], "height": 512}},
        }
        assert full_size.at_full_size(prompt, SETTINGS)["2"]["inputs"] == {"width": ["3", 0], "height": 256}

    def test_a_workflow_of_the_miniature_has_no_full_size(self, prompt_of):
        with pytest.raises(ValueError, match="loads no checkpoint"):
            full_size.at_full_size(prompt_of("Free-Prompt-Editing (miniature)"), SETTINGS)

    @pytest.mark.parametrize("side, complaint", [(32, "is uniform"), (48, "48 x 48 pixels instead of 32 x 32")])
    def test_pictures_that_cannot_be_right_are_refused(self, server, tmp_path, side, complaint):
        prompt = {
            "1": {"class_type": "EmptyImage", "inputs": {"width": side, "height": side, "batch_size": 1, "color": 0}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "black"}},
        }
        with pytest.raises(ValueError, match=complaint):
            full_size.checked_pictures(server, server.client.run(prompt), 32, tmp_path / "pictures")


def test_the_drawn_picture_has_a_mask():
    picture = Image.open(io.BytesIO(full_size.drawing(64)))
    assert picture.mode == "RGBA" and picture.size == (64, 64)
    hole = np.asarray(picture)[..., 3] == 0
    assert 0.02 < hole.mean() < 0.5
    assert np.asarray(picture)[hole][:, :3].any()  # the object is still drawn there


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS keeps no peak")
def test_peak_memory_is_that_of_a_descendant():
    child = "block = b'x' * (300 << 20); del block; print('done', flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "done"
        assert 300 <= full_size.peak_memory(process) < 600
        process.communicate("\n")
