"""The shipped workflows, described in the language of the package graph: one file per method.

Each file has `graphs()`, which returns its workflows; build_workflows.py finds the files by itself. What several need is here.
"""

from graph import Graph, Node, Output


def show_enlarged(graph: Graph, picture: Output, title: str, save_as: str | None = None) -> Node:
    """Show one of the miniature's pictures, four times as large; with `save_as` it is saved under that prefix too."""
    enlarged = graph.add("ImageScaleBy", title="Enlarge", image=picture, upscale_method="nearest-exact", scale_by=4.0)
    if save_as is None:
        return graph.add("PreviewImage", title=title, images=enlarged[0])
    return graph.add("SaveImage", title=title, images=enlarged[0], filename_prefix=save_as)
