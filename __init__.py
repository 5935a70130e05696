"""Graft: training-free image composition and editing for ComfyUI."""

WEB_DIRECTORY = "./web"  # ComfyUI serves the help pages in web/docs from there, and gives the editor opening.js


async def comfy_entrypoint():
    """ComfyUI's entry point; the host is imported here and not before. Raises GraftError on one that is too old."""
    from .host.floor import require_supported_host

    require_supported_host()
    from .nodes import GraftExtension

    return GraftExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
