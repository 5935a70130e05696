"""Nodes of the embedded models and their drawn worlds."""

import numpy as np
import torch
from comfy_api.latest import io

from ..host.errors import GraftError
from ..host.models import miniature as model
from ..host.models import pixel_diffusion
from ..miniature import faces
from ..miniature.network import SIDE
from ..miniature.scenes.prompts import prompt_of
from ..miniature.scenes.rendering import render
from ..miniature.scenes.sampling import variation
from ..miniature.scenes.scene import COLOURED, COLOURS, GROUNDS, KINDS, LIGHTS, STYLES, Scene, Thing
from .node import GraftNode

COLOUR_TOOLTIP = (
    f"Its colour, if one dominates its kind ({', '.join(kind for kind in KINDS if kind in COLOURED)}); the others have their own."
)
CHANGES = {
    "none": [],
    "remove": [],
    "recolour": [
        io.Combo.Input(
            "new_colour", options=list(COLOURS), default="blue", tooltip="The thing's colour after the change, if its kind has one."
        )
    ],
    "replace": [io.Combo.Input("new_kind", options=list(KINDS), default="owl", tooltip="What stands in its place after the change.")],
    "turn round": [],
    "move": [
        io.Float.Input(
            "new_x",
            default=0.7,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Where the thing stands after the change, from left (0) to right (1).",
        ),
        io.Float.Input(
            "new_y",
            default=0.85,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Where the thing touches the ground after the change, from top (0) to bottom (1).",
        ),
    ],
    "change ground": [io.Combo.Input("new_ground", options=list(GROUNDS), default="snow", tooltip="The ground after the change.")],
    "change light": [io.Combo.Input("new_light", options=list(LIGHTS), default="night", tooltip="The time of day after the change.")],
    "change style": [io.Combo.Input("new_style", options=list(STYLES), default="watercolour", tooltip="The style after the change.")],
}


class LoadMiniature(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftLoadMiniature",
            display_name="Load Miniature",
            category="Graft/miniature",
            description="A small diffusion model that comes with Graft and paints 128 x 128 pictures of two dozen things, from rabbits to "
            "teapots, in four styles. It runs every workflow in seconds on any machine: to try them, to learn them, to test them.",
            search_aliases=["miniature", "tiny model", "test model", "example model", "checkpoint"],
            inputs=[],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The UNet: Stable Diffusion in small, in v-prediction."),
                io.Clip.Output(display_name="clip", tooltip="The text encoder."),
                io.Vae.Output(display_name="vae", tooltip="The VAE: an eighth of the picture's side, 32 channels."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(model.load_unet(), model.load_clip(), model.load_vae())


def _thing_inputs(name: str, kinds: list[str], x: float, kind: str, colour: str) -> list:
    return [
        io.Combo.Input(f"{name}_kind", options=kinds, default=kind, tooltip="What it is."),
        io.Combo.Input(f"{name}_colour", options=list(COLOURS), default=colour, tooltip=COLOUR_TOOLTIP),
        io.Float.Input(f"{name}_x", default=x, min=0.0, max=1.0, step=0.01, tooltip="Where its middle is, from left (0) to right (1)."),
        io.Float.Input(
            f"{name}_y", default=0.85, min=0.0, max=1.0, step=0.01, tooltip="Where it touches the ground, from top (0) to bottom (1)."
        ),
        io.Float.Input(
            f"{name}_size",
            default=0.45,
            min=0.1,
            max=0.9,
            step=0.01,
            tooltip="Its larger side, as a part of the picture's shorter one.",
            advanced=True,
        ),
        io.Boolean.Input(f"{name}_mirrored", default=False, tooltip="Whether it looks the other way.", advanced=True),
    ]


class MiniatureScene(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftMiniatureScene",
            display_name="Miniature Scene",
            category="Graft/miniature",
            description="Draws a picture of the miniature's world with its prompt and masks, and the true picture after a change: "
            "what an edit of the first should look like.",
            search_aliases=["miniature", "test picture", "ground truth", "synthetic scene"],
            inputs=[
                io.Combo.Input("ground", options=list(GROUNDS), default="meadow", tooltip="What the things stand on."),
                io.Combo.Input("light", options=list(LIGHTS), default="day", tooltip="The time of day."),
                io.Combo.Input("style", options=list(STYLES), default="3-D render", tooltip="How it is painted."),
                *_thing_inputs("first", list(KINDS), 0.3, "car", "red"),
                *_thing_inputs("second", ["none", *KINDS], 0.73, "none", "blue"),
                io.Combo.Input(
                    "object", options=["first", "second"], default="first", tooltip="Which thing the masks show and the change is made to."
                ),
                io.DynamicCombo.Input(
                    "change",
                    options=[io.DynamicCombo.Option(name, inputs) for name, inputs in CHANGES.items()],
                    tooltip="The change whose true result is drawn.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    tooltip="Varies what no word names: proportions and markings, the horizon, clouds and grain.",
                    control_after_generate=False,
                ),
                *(
                    io.Int.Input(
                        side, default=SIDE, min=32, max=2048, step=8, tooltip=f"Pixels. The miniature knows {SIDE}.", advanced=True
                    )
                    for side in ("width", "height")
                ),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="The scene."),
                io.Mask.Output(display_name="object_mask", tooltip="Where the chosen thing is seen."),
                io.Mask.Output(display_name="shadow_mask", tooltip="Where its cast shadow is seen."),
                io.String.Output(display_name="prompt", tooltip="The scene in words."),
                io.Image.Output(display_name="ground_truth", tooltip="The scene after the change."),
                io.String.Output(display_name="ground_truth_prompt", tooltip="The changed scene in words."),
            ],
        )

    @classmethod
    def execute(cls, ground, light, style, object, seed, width=SIDE, height=SIDE, change=None, **things) -> io.NodeOutput:
        scene, index = _scene(ground, light, style, seed, things), 0
        if object == "second":
            if len(scene.things) < 2:
                raise GraftError("object: there is no second thing; choose what second_kind is, or choose the first")
            index = 1
        changed = _changed(scene, index, change or {"change": "none"})
        before, after = render(scene, width, height), render(changed, width, height)
        return io.NodeOutput(
            torch.from_numpy(before.picture)[None],
            torch.from_numpy(before.objects[index])[None],
            torch.from_numpy(before.shadows[index])[None],
            prompt_of(scene),
            torch.from_numpy(after.picture)[None],
            prompt_of(changed),
        )


def _scene(ground: str, light: str, style: str, seed: int, things: dict) -> Scene:
    """The described scene; the seed decides what the inputs leave open."""
    varied, described = variation(seed), []
    for name, individual in zip(("first", "second"), varied.individuals, strict=True):
        fields = {key.removeprefix(f"{name}_"): value for key, value in things.items() if key.startswith(f"{name}_")}
        if fields["kind"] != "none":
            own = {} if fields["kind"] in COLOURED else {"colour": None}
            described.append(Thing(**fields | own, individual=individual))
    return Scene(ground, style, light, tuple(described), varied.horizon, varied.texture)


def _changed(scene: Scene, index: int, change: dict) -> Scene:
    match change["change"]:
        case "none":
            return scene
        case "remove":
            return scene.without(index)
        case "recolour":
            kind = scene.things[index].kind
            if kind not in COLOURED:
                raise GraftError(f"change: a {kind} has colours of its own; recolour one of {', '.join(k for k in KINDS if k in COLOURED)}")
            return scene.recoloured(index, change["new_colour"])
        case "replace":
            return scene.exchanged(index, change["new_kind"])
        case "turn round":
            return scene.mirrored(index)
        case "move":
            return scene.moved(index, change["new_x"], change["new_y"])
        case "change ground":
            return scene.regrounded(change["new_ground"])
        case "change light":
            return scene.relit(change["new_light"])
        case "change style":
            return scene.restyled(change["new_style"])
    raise GraftError(f"change: {change['change']!r} is not one of {', '.join(CHANGES)}")


class LoadMiniatureFaces(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftLoadMiniatureFaces",
            display_name="Load Miniature Faces",
            category="Graft/miniature",
            description="A small diffusion model of pixels that comes with Graft and paints 64 x 64 portraits: what InjectFusion does, seen in seconds on "
            "any machine. Unconditional; sample it at cfg 1.",
            search_aliases=["miniature", "faces", "tiny model", "test model", "UNet2DModel", "InjectFusion"],
            inputs=[],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The UNet: a diffusers UNet2DModel, ddpm-celebahq-256 in small."),
                io.Conditioning.Output(display_name="conditioning", tooltip="No prompt, for inputs that need one. Use cfg 1."),
                io.Vae.Output(display_name="vae", tooltip="Between pictures and the model's pixels; nothing is lost."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(pixel_diffusion.load_faces(), pixel_diffusion.no_prompt(), pixel_diffusion.load_vae())


FACE_TOOLTIPS = {
    "jaw": "Shape of the face.",
    "nose": "The nose.",
    "eyes": "The eyes.",
    "expression": "Mouth and brows.",
    "glasses": "Whether it wears glasses, and which.",
    "skin": "Colour of the skin.",
    "hair": "Colour of the hair.",
    "makeup": "Colour of lips, lids and cheeks.",
    "background": "Colour behind it.",
}


class MiniatureFace(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftMiniatureFace",
            display_name="Miniature Face",
            category="Graft/miniature",
            description="Draws a portrait such as Load Miniature Faces was trained on, with the attributes you choose.",
            search_aliases=["miniature", "portrait", "test picture", "synthetic face", "InjectFusion"],
            inputs=[
                *(
                    io.Combo.Input(name, options=list(values), default=values[0], tooltip=FACE_TOOLTIPS[name])
                    for name, values in faces.ATTRIBUTES.items()
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    tooltip="Varies pose, length of the hair and shades.",
                    control_after_generate=False,
                ),
            ],
            outputs=[io.Image.Output(display_name="picture", tooltip="The portrait, 64 x 64.")],
        )

    @classmethod
    def execute(cls, seed, **attributes) -> io.NodeOutput:
        face = faces.Face(**attributes, pose=faces.sample_pose(np.random.default_rng(seed)))
        return io.NodeOutput(torch.from_numpy(faces.render(face))[None])


NODES = [LoadMiniature, MiniatureScene, LoadMiniatureFaces, MiniatureFace]
