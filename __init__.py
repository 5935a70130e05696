"""Graft: training-free image composition and editing for ComfyUI."""


async def comfy_entrypoint():
    """ComfyUI's entry point; the host is imported here and not before."""
    from .nodes import GraftExtension

    return GraftExtension()


__all__ = ["comfy_entrypoint"]
