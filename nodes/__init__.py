"""Graft's nodes, one file per family: schema, tooltips, checks and glue. No mathematics."""

from comfy_api.latest import ComfyExtension, io

from . import attention, inversion, miniature, sampling


class GraftExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*inversion.NODES, *sampling.NODES, *attention.NODES, *miniature.NODES]
