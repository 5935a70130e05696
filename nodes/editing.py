"""Nodes that edit a picture by prompt without being told how: on flow models, and on the model in hand."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..host.engine.pictures import decode, encode
from ..host.errors import GraftError
from ..host.samplers.edit_by_prompt import edit_by_prompt
from ..host.samplers.flow_edit import DISTILLED, FlowEdit, edit_by_flow, settings_for
from ..host.samplers.guided import Prompts
from .node import GraftNode
from .types import soft_edged

FOR_THIS_MODEL, FEW_STEPS, CUSTOM = "for this model", "distilled to few steps", "custom"


def _prompts() -> list:
    return [
        io.Conditioning.Input("positive", tooltip="What the picture shall show. Say all of it, not only what changes."),
        io.Conditioning.Input("source_conditioning", tooltip="What the picture shows now, in the same words but for what changes."),
        io.Conditioning.Input(
            "negative", tooltip="What guidance compares with, usually the empty prompt. Distilled models do not look at it."
        ),
    ]


def _seed() -> io.Int.Input:
    return io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip="Seed of the noise.")


def _mask() -> list:
    return [
        io.Int.Input(
            "feather", default=16, min=0, max=512, tooltip="Width of the mask's soft edge, in pixels, inside the mask.", advanced=True
        ),
        io.Mask.Input("mask", optional=True, tooltip="Where the picture may change. Elsewhere its latent stays to the bit."),
    ]


def _soft(mask, feather: int):
    return None if mask is None else soft_edged("mask", mask, (feather + 1) // 2)


def _guidance(name: str, default: float, whose: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=default,
        min=1.0,
        max=100.0,
        step=0.1,
        tooltip=f"How strongly {whose} is followed. 1 for distilled models: half the cost. A model that is told a guidance (Flux.1 dev) is told this one.",
    )


def _settings() -> io.DynamicCombo.Input:
    custom = [
        io.Int.Input("steps", default=28, min=1, max=1000, tooltip="Steps of the model's whole schedule."),
        io.Int.Input(
            "edited_steps",
            default=20,
            min=1,
            max=1000,
            tooltip="The last so many of them are taken (n_max). Fewer keep more of the layout, more change more.",
        ),
        _guidance("source_guidance", 1.5, "the source's prompt"),
        _guidance("guidance", 5.0, "the new prompt"),
        io.Int.Input(
            "plain_steps",
            default=0,
            min=0,
            max=1000,
            tooltip="The last so many of the edited steps sample plainly under the new prompt (n_min): cleaner, farther from the picture.",
            advanced=True,
        ),
        io.Int.Input(
            "draws", default=1, min=1, max=50, tooltip="Noises that every step is averaged over (n_avg): steadier, dearer.", advanced=True
        ),
        io.Float.Input(
            "shift",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip="1: FlowEdit. 0: Delta Denoising Score, which stays closer to the picture. Between: some of both.",
            advanced=True,
        ),
    ]
    options = [io.DynamicCombo.Option(FOR_THIS_MODEL, []), io.DynamicCombo.Option(FEW_STEPS, []), io.DynamicCombo.Option(CUSTOM, custom)]
    return io.DynamicCombo.Input(
        "settings",
        options=options,
        tooltip="for this model: the released ones for Flux.1 dev and SD3, else 28 steps with guidance. distilled to few steps: 8 steps without, for "
        "turbo, klein, schnell and lightning models. custom: your own.",
    )


class FlowEditNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftFlowEdit",
            display_name="Flow Edit",
            category="Graft/optimization",
            description="FlowEdit: changes a picture from what one prompt says to what another says, without inverting it, on flow models: Flux, Qwen-Image, "
            "Z-Image, Krea 2, Anima, Chroma, SD3.5. With a mask nothing else changes.",
            search_aliases=["FlowEdit", "inversion-free editing", "edit by prompt", "flux edit", "qwen edit", "DVRF", "delta velocity"],
            inputs=[
                io.Model.Input("model", tooltip="A flow model."),
                *_prompts(),
                io.Latent.Input("latent_image", tooltip="The picture, encoded."),
                _seed(),
                _settings(),
                *_mask(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The changed picture, encoded.")],
        )

    @classmethod
    def execute(
        cls, model, positive, source_conditioning, negative, latent_image, seed, feather, settings=None, mask=None
    ) -> io.NodeOutput:
        if "noise_mask" in latent_image:
            raise GraftError(
                "latent_image: it carries a noise mask, which limits sampling; connect the latent without it, and the mask to mask"
            )
        chosen = replace(_chosen(model, settings or {"settings": FOR_THIS_MODEL}), mask=_soft(mask, feather))
        edited = edit_by_flow(model, Prompts(positive, source_conditioning, negative), latent_image["samples"], seed, chosen)
        return io.NodeOutput({**latent_image, "samples": edited})


def _chosen(model, settings: dict) -> FlowEdit:
    match settings["settings"]:
        case "for this model":
            return settings_for(model)
        case "distilled to few steps":
            return DISTILLED
        case "custom":
            return FlowEdit(
                steps=settings["steps"],
                edited=settings["edited_steps"],
                source_guidance=settings["source_guidance"],
                guidance=settings["guidance"],
                plain=settings["plain_steps"],
                draws=settings["draws"],
                shift=settings["shift"],
            )
    raise GraftError(f"settings: {settings['settings']!r} is not one of {FOR_THIS_MODEL}, {FEW_STEPS}, {CUSTOM}")


class EditPictureNode(GraftNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GraftEditPicture",
            display_name="Edit Picture",
            category="Graft/optimization",
            description="Changes what a picture shows by prompt, the way that suits the model: FlowEdit on flow models (Flux, Qwen-Image, Z-Image ...), "
            "Free-Prompt-Editing on SD1.x, SD2.x and SDXL, Delta Denoising Score on any other.",
            search_aliases=["edit picture by prompt", "FlowEdit", "Free-Prompt-Editing", "prompt edit", "change a picture"],
            inputs=[
                io.Model.Input("model", tooltip="Any model of pictures, with its LoRAs, without Graft's editing nodes."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                io.Image.Input("image", tooltip="The picture, or a batch of one size."),
                *_prompts(),
                _seed(),
                io.Float.Input(
                    "amount",
                    default=1.0,
                    min=0.1,
                    max=2.0,
                    step=0.05,
                    tooltip="How much may change. 1: as the method has it. Less keeps more of the layout.",
                ),
                io.Boolean.Input(
                    "distilled",
                    default=False,
                    tooltip="Whether the model was distilled to few steps (turbo, klein, lightning): it cannot be seen from the model. It is asked without "
                    "guidance then.",
                ),
                *_mask(),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The changed picture. Keep Outside Mask puts it back to the pixel.")],
        )

    @classmethod
    def execute(
        cls, model, vae, image, positive, source_conditioning, negative, seed, amount, distilled, feather, mask=None
    ) -> io.NodeOutput:
        prompts = Prompts(positive, source_conditioning, negative)
        edited = edit_by_prompt(model, prompts, encode(vae, image), seed, amount, distilled, _soft(mask, feather))
        return io.NodeOutput(decode(vae, edited))


NODES = [FlowEditNode, EditPictureNode]
