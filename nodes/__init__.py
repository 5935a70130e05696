"""Graft's nodes, one file per family: schema, tooltips, checks and glue. No mathematics."""

from comfy_api.latest import ComfyExtension, io

from ..host.engine.refusal import watch_prompts
from ..host.models import examples
from . import (
    composition,
    cross_attention,
    editing,
    h_space,
    inspection,
    inversion,
    keeping,
    latents,
    miniature,
    optimization,
    prompts,
    sampling,
    self_attention,
)


class GraftExtension(ComfyExtension):
    async def on_load(self) -> None:
        examples.put_into_input_folder()
        watch_prompts()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        families = (
            prompts,
            inversion,
            sampling,
            self_attention,
            cross_attention,
            latents,
            h_space,
            composition,
            keeping,
            optimization,
            editing,
            inspection,
            miniature,
        )
        return [node for family in families for node in family.NODES]
