"""TF-ICON: a thing from one picture into another, across styles and within one, with an SD2.1 checkpoint and on the miniature."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graph import Choice, Graph, Node, Output, Place

from . import EXAMPLE, SD21, Checkpoint, Drawn, Model, draw, invert, load_checkpoint, load_miniature, load_square, show_enlarged
from .notes import MINIATURE, ReadMe, add_note, paint

SOLVER, STEPS, SEED = "DPM-Solver++ 2M", 20, 3407
"""The paper's."""
INTO_DRAWING = "TF-ICON into an ink drawing (miniature)"
INTO_RENDER = "TF-ICON into a 3-D render (miniature)"
WITHIN = "TF-ICON within one style (miniature)"


@dataclass(frozen=True)
class Domain:
    """Whether both pictures are of one style, with the paper's guidance. `thumbnail_of` is the miniature's workflow of this kind."""

    name: str
    summary: str
    cfg: float
    prompt: str
    thumbnail_of: str


CROSS = Domain(
    "cross-domain",
    "Put an object from one picture into another and paint it in that one's style.",
    cfg=5.0,
    prompt="an oil painting of a panda in a meadow",
    thumbnail_of=INTO_DRAWING,
)
SAME = Domain(
    "same-domain",
    "Put an object from one photo into another and let it grow in.",
    cfg=2.5,
    prompt="a professional photograph of a panda in a meadow, ultra realistic",
    thumbnail_of=WITHIN,
)


@dataclass(frozen=True)
class Small:
    """A composition of drawn scenes: `thing`, which the reference shows at another place and size, goes beside `other`."""

    title: str
    summary: str
    domain: Domain
    style: str
    ground: str
    other: Drawn
    thing: Drawn
    reference_style: str
    reference_ground: str
    try_out: str
    light: str = "day"
    reference_light: str = "day"
    seed: int = 0


SMALL = (
    Small(
        INTO_DRAWING,
        "Put an object of a 3-D render into an ink drawing, in the drawing's style; runs in seconds on any machine.",
        CROSS,
        style="ink drawing",
        ground="sand",
        other=Drawn("cactus", x=0.74, y=0.82, size=0.44),
        thing=Drawn("owl", x=0.27, y=0.9, size=0.42),
        reference_style="3-D render",
        reference_ground="meadow",
        try_out="the naive paste keeps the render's colours and shading; the result is drawn in ink.",
        seed=4,
    ),
    Small(
        INTO_RENDER,
        "Put an object of an ink drawing into a 3-D render, as if it had been there; runs in seconds on any machine.",
        CROSS,
        style="3-D render",
        ground="snow",
        other=Drawn("tree", x=0.73, y=0.8, size=0.44),
        thing=Drawn("penguin", x=0.27, y=0.92, size=0.46),
        reference_style="ink drawing",
        reference_ground="street",
        try_out="the naive paste is hatched on paper; the result is shaded, and has a beak and feet in colour.",
        seed=2,
    ),
    Small(
        WITHIN,
        "Put an object of a 3-D render at night into another one by day; runs in seconds on any machine.",
        SAME,
        style="3-D render",
        ground="meadow",
        other=Drawn("tree", x=0.72, y=0.82, size=0.44),
        thing=Drawn("car", "red", x=0.3, y=0.93, size=0.5),
        reference_style="3-D render",
        reference_ground="street",
        reference_light="night",
        try_out="the naive paste keeps the night's light.",
    ),
)
SMALL_CFG = 2.5


def graphs() -> list[Graph]:
    return [*(_full_size(domain, checkpoint) for checkpoint in (SD21,) for domain in (CROSS, SAME)), *map(_miniature, SMALL)]


@dataclass(frozen=True)
class Inverted:
    """Both trajectories, and the prompt they were made with."""

    main: Output
    reference: Output
    conditioning: Output


def _full_size(domain: Domain, checkpoint: Checkpoint) -> Graph:
    """The paper's settings, but for the fit: there the asked place is the whole reference picture's, here its object's."""
    graph = Graph(f"TF-ICON {domain.name}", domain.summary, thumbnail_of=domain.thumbnail_of)
    add_note(graph, _read_me(domain, checkpoint))
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, checkpoint.file)
        picture, mask = load_square(graph, "Your picture: paint where the object goes", checkpoint.side)
        reference = graph.add("LoadImage", title="Your reference: paint over the object", at=Place(column=0), image=EXAMPLE)
    with graph.group("2 Place"):
        placed = place(graph, picture, reference["IMAGE"], reference["MASK"], mask)
    with graph.group("3 Invert both") as box:
        prompt = graph.add("GraftExceptionalPrompt", clip=model.clip, at=Place(column=0))["conditioning"]
        inverted = invert_both(graph, model, domain, picture, placed, prompt)
    with graph.group("4 Compose", below=box):
        negative = graph.add("CLIPTextEncode", title="Negative prompt", clip=model.clip, text="", at=Place(column=0))[0]
        result = compose(graph, model, domain, inverted, placed, domain.prompt, negative, domain.cfg)
        graph.add("SaveImage", title="4 result", images=result, filename_prefix="Graft/tf-icon")
    return graph


def _read_me(domain: Domain, checkpoint: Checkpoint) -> ReadMe:
    what, turn, photographs = {
        CROSS.name: (
            "Puts an object from a photo into a painting, a drawing, a cartoon, and paints it in that style.",
            "**The object still looks like a photo?** Raise *cfg*, or lower *end_percent* of Composite Attention. "
            "**It is no longer your object?** Raise *end_percent* of Composite Attention, or lower *cfg*.",
            "",
        ),
        SAME.name: (
            "Puts an object from a photo into another photo: pasted, inverted, and sampled anew, so that edges and light grow together.",
            "**The object looks pasted?** Raise *cfg* a little, or lower *end_percent* of Composite Attention. "
            "**It is no longer your object?** Raise it.",
            " Photos do not bear much *cfg*.",
        ),
    }[domain.name]
    return ReadMe(
        f"TF-ICON: {domain.name}",
        what,
        checkpoint.name,
        steps=(
            f"Choose your checkpoint and both pictures; your picture is cut to a square of {checkpoint.side} pixels.",
            paint("**your picture**", "where the object shall be: the box around your strokes counts, its long side is the object's"),
            f"{paint('**your reference**', 'over the object, up to its edge')} A cut-out PNG: put **Invert Mask** between.",
            "Run **Place Reference** alone (select it, press the play button above it) and look: orange is the object, blue what may change.",
            "Write what the finished picture shows, its style too, and press **Run**.",
        ),
        turn="the box, if place or size are wrong: paint it anew. Small objects lose most. "
        f"{turn}{photographs} **A seam or a halo?** Lower *end_percent* of Background Preservation: more of the last steps blend the seam, "
        "and the background changes a little. 1 keeps it to the end.",
        expect="the object's pose, shape and main colours; the picture's brush and light.",
        cannot="turn the object, keep a face or lettering to the letter, cast a shadow beyond the blue box.",
        more="The settings are the paper's.",
    )


def _miniature(case: Small) -> Graph:
    graph = Graph(case.title, case.summary, thumbnail=("1 input", "2 reference", "4 result"))
    start = (
        "The reference is inverted too, and the object starts from its noise."
        if case.domain is CROSS
        else "Here the naive paste is inverted, and the object starts from its noise."
    )
    add_note(
        graph,
        ReadMe(
            f"{case.title.removesuffix(' (miniature)')} on the miniature",
            f"**Reference** shows the {case.thing.kind}. It goes beside the {case.other.kind}. {start}",
            MINIATURE,
            turn="*first_x* or *first_size* of **Picture, and its truth**, *end_percent* of Composite Attention (more keeps more of the reference's "
            "drawing), *cfg*. Another object? Change *first_kind* in both scenes; another *ground* or *light* in either.",
            expect=f"compare **3 naive paste** and **4 result** with **5 ground truth**: {case.try_out}",
            cannot="keep small parts: edges fray, lines thicken, and in some scenes the object takes on colours that are not its own; the evaluation "
            "counts how often it stays what it is. A shadow comes seldom.",
            more="**5 ground truth** is drawn, never sampled from. Of it the workflow sees the prompt, and the box of the object: where it goes.\n\n"
            "Both pictures are inverted under the exceptional prompt, as in the paper; the evaluation compares it with the empty prompt and with "
            "ordinary ones. The reference lies on its own average colour instead of black, which this small model hardly knows.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_miniature(graph)
        main = {"ground": case.ground, "light": case.light, "style": case.style, "seed": case.seed}
        elsewhere = {"ground": case.reference_ground, "light": case.reference_light, "style": case.reference_style, "seed": case.seed}
        truth = draw(graph, case.thing, case.other, title="Picture, and its truth", **main, change=Choice("remove"))
        reference = draw(graph, replace(case.thing, x=0.5, y=0.88, size=0.56), title="Reference", **elsewhere)
        picture = truth["ground_truth"]
        show_enlarged(graph, picture, "1 input")
        show_enlarged(graph, reference["picture"], "2 reference")
        show_enlarged(graph, truth["picture"], "5 ground truth")
    with graph.group("2 Place"):
        placed = place(graph, picture, reference["picture"], reference["object_mask"], truth["object_mask"], surround="average colour")
        show_enlarged(graph, placed["pasted"], "3 naive paste")
    with graph.group("3 Invert both") as box:
        prompt = graph.add("GraftExceptionalPrompt", clip=model.clip, at=Place(column=0))["conditioning"]
        inverted = invert_both(graph, model, case.domain, picture, placed, prompt)
    with graph.group("4 Compose", below=box):
        empty = graph.add("CLIPTextEncode", title="Negative prompt", clip=model.clip, text="", at=Place(column=0))[0]
        result = compose(graph, model, case.domain, inverted, placed, truth["prompt"], empty, SMALL_CFG)
        show_enlarged(graph, result, "4 result", save_as="Graft/tf-icon")
    return graph


def place(graph: Graph, picture: Output, reference: Output, reference_mask: Output, mask: Output, **inputs: str) -> Node:
    """The reference where the box around `mask` says. The node shows the outlines itself."""
    where = Choice("mask", mask=mask)
    return graph.add("GraftPlaceReference", image=picture, reference=reference, reference_mask=reference_mask, place=where, **inputs)


def invert_both(
    graph: Graph, model: Model, domain: Domain, picture: Output, placed: Node, prompt: Output, steps: int | Output = STEPS
) -> Inverted:
    """Across domains the main picture is inverted, within one the main picture with the object pasted in."""
    sigmas = graph.add("GraftUniformTimeScheduler", model=model.unet, steps=steps)["sigmas"]
    main, title = (picture, "Invert your picture") if domain is CROSS else (placed["pasted"], "Invert the pasted picture")
    of_main = invert(graph, model, main, prompt, sigmas, title=title, solver=SOLVER)
    of_reference = invert(graph, model, placed["placed_reference"], prompt, sigmas, title="Invert the placed reference", solver=SOLVER)
    return Inverted(of_main, of_reference, prompt)


def compose(
    graph: Graph,
    model: Model,
    domain: Domain,
    inverted: Inverted,
    placed: Node,
    prompt: str | Output,
    negative: Output,
    cfg: float | Output,
    keep: float | Output = 0.4,
    seed: int | Output = SEED,
) -> Output:
    """The composition: sampled from the composed noise, looking at both pictures, the background kept."""
    target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text=prompt, at=Place(column=0))[0]
    masks = {"object_mask": placed["object_mask"], "region": placed["region"]}
    edited = graph.add(
        "GraftCompositeAttention",
        model=model.unet,
        main=inverted.main,
        reference=inverted.reference,
        conditioning=inverted.conditioning,
        **masks,
        end_percent=keep,
    )
    edited = graph.add("GraftBackgroundPreservation", model=edited["model"], main=inverted.main, region=placed["region"], end_percent=0.8)
    guider = graph.add("CFGGuider", model=edited["model"], positive=target, negative=negative, cfg=cfg)
    from_reference = {"reference": inverted.reference} if domain is CROSS else {}
    start = graph.add(
        "GraftComposeNoise", model=model.unet, main=inverted.main, **from_reference, **masks, domain=domain.name, noise_seed=seed
    )
    sampler = graph.add("GraftSampler", solver=SOLVER)
    sampled = graph.add(
        "SamplerCustomAdvanced",
        noise=start["noise"],
        guider=guider[0],
        sampler=sampler[0],
        sigmas=start["sigmas"],
        latent_image=start["latent"],
    )
    return graph.add("VAEDecode", samples=sampled["output"], vae=model.vae)["IMAGE"]
