"""The unnaturalness map: of a picture of the user's with an SD1.5 checkpoint, and of a pasted object on the miniature."""

from __future__ import annotations

from graph import Graph, Place

from . import EXAMPLE, SD15, Checkpoint, Drawn, fit, load_checkpoint, load_miniature, show, show_enlarged
from .freecompose import prompt
from .freecompose_miniature import pasted
from .notes import MINIATURE as MINIATURE_MODEL
from .notes import ReadMe, add_note

FULL = "Unnaturalness Map"
MINIATURE = "Unnaturalness Map (miniature)"
KNOBS = (
    "*draws* and the timesteps. **Too patchy?** Raise *draws*. **Whole objects glow instead of seams?** Lower both timesteps: at little noise "
    "details count. **A large thing that is wrong stays dark?** Raise them: at much noise whole objects count."
)
MEASURE = (
    "*measure* *all* is the article's: everything the model would change. It glows a little at objects that belong there, too. *unexpected* takes off "
    "what the noise alone explains."
)
PROOF = "prove anything. What is only rare glows too, and a paste that fits does not."


def graphs() -> list[Graph]:
    return [_full(SD15), _miniature()]


def _full(checkpoint: Checkpoint) -> Graph:
    graph = Graph(
        FULL,
        "See where a model does not believe a picture, by both measures, and as a mask.",
        thumbnail_of=MINIATURE,
    )
    add_note(
        graph,
        ReadMe(
            graph.title,
            "Asks the model, under noise, what it would change in a picture. **2 map** glows where that is more than the noise explains: pasted "
            "objects, seams, wrong shadows. **3 the article's measure** counts everything it would change.",
            f"{checkpoint.name} Every other model that ComfyUI samples works as well; the map is worth what it knows of such pictures.",
            steps=(
                f"Choose your checkpoint and your picture, which is scaled to {checkpoint.side} pixels on its longer side.",
                "Say what it shows, or leave the prompt empty.",
                "Press **Run**.",
            ),
            turn=KNOBS,
            expect="a picture over which what is odd to the model glows, and a mask of it, in seconds.",
            cannot=PROOF,
            more=f"{MEASURE}\n\nThe mask output can go into Optimize Latent.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph, checkpoint.file)
        loaded = graph.add("LoadImage", title="Your picture", at=Place(column=0), image=EXAMPLE)
        picture = fit(graph, loaded["IMAGE"], size=checkpoint.side).picture
    with graph.group("2 Look"):
        shown = prompt(graph, model, "What it shows", "")
        for title, measure in (("2 map", "unexpected"), ("3 the article's measure", "all (paper)")):
            heat = graph.add("GraftUnnaturalnessMap", model=model.unet, conditioning=shown, vae=model.vae, image=picture, measure=measure)
            graph.add("SaveImage", title=title, images=heat["heat_map"], filename_prefix="Graft/unnaturalness")
            if measure == "unexpected":
                mask = graph.add("MaskToImage", mask=heat["mask"])[0]
                graph.add("PreviewImage", title="4 mask", images=mask)
    return graph


def _miniature() -> Graph:
    graph = Graph(
        MINIATURE,
        "See where a model does not believe a picture: a pasted object; runs in seconds on any machine.",
        thumbnail=("1 pasted", "2 map"),
    )
    add_note(
        graph,
        ReadMe(
            "Unnaturalness Map on the miniature",
            "An owl cut out of an ink drawing is pasted into a 3-D render, and the model is asked, under noise, what it would change. **2 map** glows "
            "where that is more than the noise explains. Nothing says where the owl was pasted.",
            MINIATURE_MODEL,
            turn=f"{KNOBS} Then *style* 3-D render in **Reference**: now the owl fits, and nothing glows, not even the place of the missing "
            "shadow.",
            expect="a glow at the owl. **4 map of the truth** is the map of the scene as it should look: nearly dark.",
            cannot=PROOF,
            more=f"{MEASURE}\n\nThe mask output can go into Optimize Latent. For your own pictures open **Unnaturalness Map**.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        owl = Drawn("owl", x=0.5, y=0.88, size=0.5)
        paste = pasted(graph, owl, {"style": "ink drawing"}, ground="meadow", seed=4)
        show_enlarged(graph, paste.picture, "1 pasted")
        show_enlarged(graph, paste.truth["picture"], "3 ground truth")
    with graph.group("2 Look"):
        empty = prompt(graph, model, "Empty prompt", "")
        for title, picture in (("2 map", paste.picture), ("4 map of the truth", paste.truth["picture"])):
            heat = graph.add("GraftUnnaturalnessMap", model=model.unet, conditioning=empty, vae=model.vae, image=picture)
            show(graph, heat["heat_map"], title, save_as="Graft/unnaturalness" if title == "2 map" else None)
    return graph
