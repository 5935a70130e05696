"""MasaCtrl: of a generation with an SD1.5 checkpoint, and of a drawn scene with the miniature."""

from __future__ import annotations

from graph import Choice, Graph, Output

from . import SD15, Drawn, Model, draw, invert, load_checkpoint, load_miniature, record, sample, show_enlarged, steps_of
from .notes import MINIATURE as MINIATURE_MODEL
from .notes import ReadMe, add_note

MINIATURE = "MasaCtrl (miniature)"
THING, SEED = "balloon", 2


def graphs() -> list[Graph]:
    return [_synthetic(), _miniature()]


def _synthetic() -> Graph:
    """The released settings: 512 px, 50 DDIM steps, guidance 7.5, the decoder's fine layers after the first four steps."""
    graph = Graph("MasaCtrl", "Change the pose in a generated picture and keep its look.", thumbnail_of=MINIATURE)
    add_note(
        graph,
        ReadMe(
            "MasaCtrl",
            "Generates a picture from one prompt, then a second from another that keeps the first one's look: the same person, sitting and standing.",
            f"{SD15.name} The released example uses one for anime.",
            steps=("Choose your checkpoint.", "Write both prompts: the second changes the pose only.", "Press **Run**."),
            turn="*start_percent* of Replace Keys and Values. **The pose does not change?** Raise it: the new layout forms before it. "
            "**The look is lost?** Lower it. **Object and background mix?** Write the object into *source_words* and *target_words*, here 1boy, or connect its "
            "mask in both pictures.",
            expect="the same person, animal or thing and much of the background, in another pose.",
            cannot="reach a pose that the model does not paint from the prompt alone, show a side that the first picture hides, "
            "or keep a face or lettering to the letter.",
        ),
    )
    with graph.group("1 Model and prompts"):
        model = load_checkpoint(graph)
        source = graph.add("GraftEncodePrompt", title="Source prompt", clip=model.clip, text="1boy, casual, outdoors, sitting")[0]
        target = graph.add("GraftEncodePrompt", title="What it should show", clip=model.clip, text="1boy, casual, outdoors, standing")[0]
        negative = graph.add("CLIPTextEncode", title="Negative prompt", clip=model.clip, text="")[0]
    trajectory, generation = record(graph, model, source, negative)
    with graph.group("3 Edit", below=generation):
        edited = graph.add("GraftReplaceKeysAndValues", model=model.unet, source=trajectory, source_conditioning=source)
        result = sample(graph, model, edited["model"], trajectory, target, negative, cfg=7.5)
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/masactrl")
    return graph


def _miniature() -> Graph:
    graph = Graph(
        MINIATURE, "Paint a thing of a drawn scene anew in another place, with the look it has; runs in under a minute on any machine."
    )
    add_note(
        graph,
        ReadMe(
            "MasaCtrl on the miniature",
            f"The prompt says *{THING}* and no colour, and the new picture starts from noise of its own: without the edit a {THING} of any colour comes, "
            "somewhere. With it the new thing reads its look from the old picture. Compare **2 result** with **3 without the edit**.",
            MINIATURE_MODEL,
            turn="*noise_seed*: another place and size. *start_percent* of Replace Keys and Values. **The new picture copies the old one's layout?** "
            "Raise it. **Another colour?** Lower it. Then another *first_colour* or *first_kind*; write its kind into the prompt too.",
            expect="the old thing's colours on the new one.",
            cannot="draw the thing better than the model does from the prompt alone, or keep its markings to the letter.",
            more="*layers* is *all* here: the paper's rule is made for pictures of 512 pixels.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_miniature(graph)
        scene = draw(graph, Drawn(THING, "red", size=0.56), ground="shore", seed=3)
        show_enlarged(graph, scene["picture"], "1 input")
    with graph.group("2 Invert the picture") as inversion:
        empty = graph.add("CLIPTextEncode", title="Empty prompt", clip=model.clip, text="")[0]
        sigmas = steps_of(graph, model, steps=30)
        trajectory = invert(graph, model, scene["picture"], empty, sigmas)
    with graph.group("3 Edit", below=inversion) as edit:
        target = graph.add(
            "CLIPTextEncode", title="What it should show", clip=model.clip, text=f"a 3-D render of a {THING} on a shore by day"
        )[0]
        edited = graph.add(
            "GraftReplaceKeysAndValues",
            model=model.unet,
            source=trajectory,
            source_conditioning=empty,
            start_percent=0.16,
            layers=Choice("all"),
        )
        start = {
            "noise": graph.add("RandomNoise", noise_seed=SEED)[0],
            "sampler": graph.add("GraftSampler", solver="DDIM")[0],
            "sigmas": sigmas,
            "latent_image": graph.add("EmptyLatentImage", width=128, height=128, batch_size=1)[0],
        }
        result = _sampled(graph, model, edited["model"], target, empty, start)
        show_enlarged(graph, result, "2 result", save_as="Graft/masactrl")
    with graph.group("4 The same without the edit", below=edit):
        show_enlarged(graph, _sampled(graph, model, model.unet, target, empty, start), "3 without the edit")
    return graph


def _sampled(graph: Graph, model: Model, edited: Output, target: Output, empty: Output, start: dict[str, Output]) -> Output:
    guider = graph.add("CFGGuider", model=edited, positive=target, negative=empty, cfg=4.0)[0]
    sampled = graph.add("SamplerCustomAdvanced", guider=guider, **start)
    return graph.add("VAEDecode", samples=sampled["output"], vae=model.vae)["IMAGE"]
