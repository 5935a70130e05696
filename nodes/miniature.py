"""Nodes of the embedded models and their drawn worlds."""

import numpy as np
import torch
from comfy_api.latest import io

from ..host.errors import GraftError
from ..host.models import miniature as model
from ..host.models import pixel_diffusion
from ..miniature import drawing, faces, world
from .node import GraftNode

CHANGES = {
    "none": [],
    "remove": [],
    "recolour": [
        io.Combo.Input("new_colour", options=list(world.COLOURS), default="blue", tooltip="The object's colour after the change.")
    ],
    "reshape": [io.Combo.Input("new_shape", options=list(world.SHAPES), default="cube", tooltip="The object's shape after the change.")],
    "move": [
        io.Float.Input(
            "new_x",
            default=0.7,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Where the object stands after the change, from left (0) to right (1).",
        ),
        io.Float.Input(
            "new_y",
            default=0.8,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Where the object touches the ground after the change, from top (0) to bottom (1).",
        ),
    ],
    "change ground": [io.Combo.Input("new_ground", options=list(world.GROUNDS), default="snow", tooltip="The ground after the change.")],
    "change style": [io.Combo.Input("new_style", options=list(world.STYLES), default="drawing", tooltip="The style after the change.")],
}


class LoadMiniature(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftLoadMiniature",
            display_name="Load Miniature",
            category="Graft/miniature",
            description="A small diffusion model that comes with Graft and paints 64 x 64 pictures of balls, cubes, cones and stars. "
            "It runs every workflow in seconds on any machine: to try them, to learn them, to test them.",
            search_aliases=["miniature", "tiny model", "test model", "example model", "checkpoint"],
            inputs=[],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The UNet: Stable Diffusion 1.x in small."),
                io.Clip.Output(display_name="clip", tooltip="The text encoder."),
                io.Vae.Output(display_name="vae", tooltip="The VAE: a quarter of the picture's side, 8 channels."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(model.load_model(), model.load_clip(), model.load_vae())


def _thing_inputs(name: str, shapes: list[str], x: float, **defaults) -> list:
    return [
        io.Combo.Input(f"{name}_shape", options=shapes, default=defaults["shape"], tooltip="The object's shape."),
        io.Combo.Input(f"{name}_colour", options=list(world.COLOURS), default=defaults["colour"], tooltip="The object's colour."),
        io.Combo.Input(f"{name}_pattern", options=list(world.PATTERNS), default="plain", tooltip="Plain or striped.", advanced=True),
        io.Float.Input(f"{name}_x", default=x, min=0.0, max=1.0, step=0.01, tooltip="Where the object stands, from left (0) to right (1)."),
        io.Float.Input(
            f"{name}_y", default=0.8, min=0.0, max=1.0, step=0.01, tooltip="Where it touches the ground, from top (0) to bottom (1)."
        ),
        io.Float.Input(
            f"{name}_size",
            default=0.16,
            min=0.05,
            max=0.4,
            step=0.01,
            tooltip="Half its width, as a part of the picture's side.",
            advanced=True,
        ),
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
                io.Combo.Input("ground", options=list(world.GROUNDS), default="grass", tooltip="What the objects stand on."),
                io.Combo.Input(
                    "style", options=list(world.STYLES), default="photo", tooltip="Shaded like a photo, or outlined like a drawing."
                ),
                *_thing_inputs("first", list(world.SHAPES), 0.35, shape="ball", colour="red"),
                *_thing_inputs("second", ["none", *world.SHAPES], 0.75, shape="none", colour="blue"),
                io.Combo.Input(
                    "object", options=["first", "second"], default="first", tooltip="Which object the masks show and the change is made to."
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
                    tooltip="Varies shades, horizon and the ground's mottling.",
                    control_after_generate=False,
                ),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="The scene, 64 x 64."),
                io.Mask.Output(display_name="object_mask", tooltip="Where the chosen object is seen."),
                io.Mask.Output(display_name="shadow_mask", tooltip="Where its cast shadow is seen."),
                io.String.Output(display_name="prompt", tooltip="The scene in words."),
                io.Image.Output(display_name="ground_truth", tooltip="The scene after the change."),
                io.String.Output(display_name="ground_truth_prompt", tooltip="The changed scene in words."),
            ],
        )

    @classmethod
    def execute(cls, ground, style, object, seed, change=None, **things) -> io.NodeOutput:
        scene, index = _scene(ground, style, seed, things), 0
        if object == "second":
            if len(scene.things) < 2:
                raise GraftError("object: there is no second object; give second_shape a shape, or choose the first")
            index = 1
        changed = _changed(scene, index, change or {"change": "none"})
        before, after = drawing.render(scene), drawing.render(changed)
        return io.NodeOutput(
            torch.from_numpy(before.picture)[None],
            torch.from_numpy(before.objects[index])[None],
            torch.from_numpy(before.shadows[index])[None],
            world.prompt_of(scene),
            torch.from_numpy(after.picture)[None],
            world.prompt_of(changed),
        )


def _scene(ground: str, style: str, seed: int, things: dict) -> world.Scene:
    """The described scene; the seed decides what the inputs leave open."""
    variation = world.variation(seed)
    described = []
    for name in ("first", "second"):
        fields = {key.removeprefix(f"{name}_"): value for key, value in things.items() if key.startswith(f"{name}_")}
        if fields["shape"] != "none":
            described.append(world.Thing(**fields, shade=variation.shade, tone=variation.tone))
    return world.Scene(ground, style, tuple(described), variation.horizon, variation.texture)


def _changed(scene: world.Scene, index: int, change: dict) -> world.Scene:
    match change["change"]:
        case "none":
            return scene
        case "remove":
            return scene.without(index)
        case "recolour":
            return scene.changed(index, colour=change["new_colour"])
        case "reshape":
            return scene.changed(index, shape=change["new_shape"])
        case "move":
            return scene.changed(index, x=change["new_x"], y=change["new_y"])
        case "change ground":
            return scene.regrounded(change["new_ground"])
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
