"""Inversion and the way back, on the miniature: what every edit of a picture starts from."""

from __future__ import annotations

from graph import Graph, Place

from . import Drawn, draw, show_enlarged
from .notes import MINIATURE, ReadMe, add_note


def graphs() -> list[Graph]:
    return [_miniature()]


def _miniature() -> Graph:
    graph = Graph(
        "Inversion (miniature)", "Invert a drawn scene, sample it back, and see how close it comes.", thumbnail=("1 input", "2 fixed point")
    )
    add_note(
        graph,
        ReadMe(
            "Inversion on the miniature",
            "Finds the noise a picture would have been generated from, and samples it back. Above: three model calls per step (*iterations* of "
            "Invert Image). Below: one, as in the papers.",
            MINIATURE,
            turn="*iterations* of Invert Image, then *steps*: more of either comes closer, and takes longer.",
            expect="**Reconstruct** says in dB how close the picture comes back; above 40 no difference can be seen. With three calls it is there in "
            "nearly every scene, with one in many.",
            cannot="bring back what the VAE loses: it is lost before the inversion begins. And a good inversion does not make a good edit yet.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = graph.add("GraftLoadMiniature", at=Place(column=0))
        scene = draw(graph, Drawn("rabbit", x=0.28), Drawn("sailboat", "red", x=0.74, y=0.78), ground="shore")
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
