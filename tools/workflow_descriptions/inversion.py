"""Inversion and the way back, on the miniature: what every edit of a picture starts from."""

from __future__ import annotations

from graph import Graph, Place

from . import show_enlarged


def graphs() -> list[Graph]:
    return [_miniature()]


def _miniature() -> Graph:
    graph = Graph(
        "Inversion (miniature)", "Invert a drawn scene, sample it back, and see how close it comes.", thumbnail=("1 input", "2 fixed point")
    )
    graph.note(
        "## Inversion\n"
        "Finds the noise a picture would have been generated from, and samples it back. **Reconstruct** shows how close it comes, in dB: "
        "above 40 no difference can be seen.\n\n"
        "Above: three model calls per step (*iterations* of Invert Image). Below: one, as in the papers.\n\n"
        "Try fewer *steps*, or other *iterations*.",
        title="Read me",
    )
    with graph.group("1 Model and picture"):
        model = graph.add("GraftLoadMiniature", at=Place(column=0))
        scene = graph.add("GraftMiniatureScene", second_shape="cube", at=Place(column=0))
        empty = graph.add("CLIPTextEncode", title="Empty prompt", clip=model["clip"], text="")
        sigmas = graph.add("BasicScheduler", model=model["model"], scheduler="ddim_uniform", steps=50, denoise=1.0)
        show_enlarged(graph, scene["picture"], "1 input")
    common = {"model": model["model"], "vae": model["vae"]}
    box = None
    for title, picture, iterations in [("2 Fixed point", "2 fixed point", 3), ("3 Plain DDIM", "3 plain", 1)]:
        with graph.group(title, below=box) as box:
            inverted = graph.add(
                "GraftInvertImage",
                **common,
                image=scene["picture"],
                conditioning=empty[0],
                sigmas=sigmas[0],
                solver="DDIM",
                iterations=iterations,
            )
            back = graph.add(
                "GraftReconstruct",
                title=f"Reconstruct: {title[2:]}",
                **common,
                trajectory=inverted["trajectory"],
                conditioning=empty[0],
                at=Place(height=220),
            )
            show_enlarged(graph, back["image"], picture, save_as="Graft/inversion")
            graph.add("GraftShowTrajectory", title=f"Trajectory: {title[2:]}", **common, trajectory=inverted["trajectory"])
    return graph
