"""FreeCompose with SD2.1 and SD1.5 checkpoints: removal, harmonisation, composition by text and by sketch, each alone, and all
in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph import Choice, Graph, Node, Output, Place

from . import EXAMPLE, SD15, SD21, SKETCH_ADAPTER, Checkpoint, Model, load_checkpoint, load_picture, load_square, models
from .notes import ReadMe, add_note, paint

REMOVAL = "FreeCompose removal (miniature)"
HARMONISATION = "FreeCompose harmonisation (miniature)"
TEXT = "FreeCompose text composition (miniature)"
"""The miniature's workflows of these stages, described in freecompose_miniature.py."""
HARMONIOUS = "A harmonious scene."
"""The article's prompt."""
MEMORY = (
    " **Out of memory?** The perceptual loss needs most of it: give its *vae* a TAESD (Load VAE), or set its *network* to *latent*. "
    "The article compares pictures by LPIPS: *network* *lpips*, which needs files in models/lpips."
)


def graphs() -> list[Graph]:
    return [
        _removal(SD21),
        _harmonisation(SD21),
        _text_composition(),
        _sketch_composition(),
        _chain(),
    ]


@dataclass(frozen=True)
class Prompts:
    """What the picture shows, what it shall show, and what guidance compares with."""

    source: Output
    target: Output
    negative: Output


def prompt(graph: Graph, model: Model, title: str, text: str | Output) -> Output:
    return graph.add("CLIPTextEncode", title=title, clip=model.clip, text=text, at=Place(column=0))[0]


def keep_look(graph: Graph, model: Model, network: str = "vae") -> Output:
    """The perceptual loss that needs no file; by "latent" that of a model whose VAE is one of films."""
    chosen = Choice("vae", vae=model.vae) if network == "vae" else Choice(network)
    return graph.add("GraftPerceptualLoss", network=chosen, at=Place(column=0))["perceptual"]


def encode_picture(graph: Graph, model: Model, picture: Output) -> Output:
    return graph.add("VAEEncode", pixels=picture, vae=model.vae, at=Place(column=0))[0]


def optimize(
    graph: Graph,
    model: Model,
    latent: Output,
    prompts: Prompts,
    stage: Choice,
    perceptual: Output | None = None,
    title: str | None = None,
    **settings: str | float | Output,
) -> Output:
    """The latent after a stage, by default with the article's settings."""
    kept = {} if perceptual is None else {"perceptual": perceptual}
    optimized = graph.add(
        "GraftOptimizeLatent",
        title=title,
        model=model.unet,
        positive=prompts.target,
        source_conditioning=prompts.source,
        negative=prompts.negative,
        latent_image=latent,
        stage=stage,
        **settings,
        **kept,
    )
    return optimized["latent"]


def decode(graph: Graph, model: Model, latent: Output) -> Output:
    return graph.add("VAEDecode", samples=latent, vae=model.vae)["IMAGE"]


def _prompts(graph: Graph, model: Model, shows: str, should_show: str) -> Prompts:
    return Prompts(
        source=prompt(graph, model, "What your picture shows", shows),
        target=prompt(graph, model, "What it should show", should_show),
        negative=prompt(graph, model, "Negative prompt", ""),
    )


def _removal(checkpoint: Checkpoint) -> Graph:
    graph = Graph(
        "FreeCompose removal",
        "Remove an object from a picture; what was behind it is painted anew.",
        thumbnail_of=REMOVAL,
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: removal",
            "Removes an object. Step by step the picture moves from what the first prompt says to what the second says, and cannot see the object "
            "while it does.",
            checkpoint.name,
            steps=(
                f"Choose your checkpoint and your picture, which is cut to a square of {checkpoint.side} pixels.",
                paint("the picture", "over the object, **its shadow and its reflection too**"),
                "Write what the picture shows, and what it shows without the object.",
                "Press **Run**. The picture is shown while it changes.",
            ),
            turn="the mask and the prompts, if something is left: paint a little wider, say in the second prompt what is behind it, "
            "then raise *iterations*. **A bright or dark ghost?** Lower *guidance*. **The rest changes?** Raise *background_weight*."
            + MEMORY,
            expect="grass, sky, a wall, water close over the gap, within minutes; a small picture-wide drift of colours is usual.",
            cannot="know what was really there, or remove an object that fills the picture.",
            more="The settings are the article's.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph, checkpoint.file)
        picture, mask = load_square(graph, "Your picture: paint over the object and its shadow", checkpoint.side)
    with graph.group("2 Remove"):
        prompts = _prompts(graph, model, "a dog on a lawn", "a lawn")
        latent = encode_picture(graph, model, picture)
        latent = optimize(graph, model, latent, prompts, Choice("removal", mask=mask), keep_look(graph, model))
        graph.add("SaveImage", title="2 result", images=decode(graph, model, latent), filename_prefix="Graft/freecompose")
    return graph


def _harmonisation(checkpoint: Checkpoint) -> Graph:
    graph = Graph(
        "FreeCompose harmonisation",
        "Paste an object into a picture and let light, colours and edges agree.",
        thumbnail_of=HARMONISATION,
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: harmonisation",
            "Cuts an object out of one picture, pastes it into another, and lets the model make both agree: light, colour, edge, shadow.",
            f"{checkpoint.name} Every other model that ComfyUI samples works as well.",
            steps=(
                f"Choose your checkpoint and both pictures; your picture is cut to a square of {checkpoint.side} pixels.",
                paint("**your picture**", "where the object shall be: the box around your strokes counts"),
                f"{paint('**your reference**', 'over the object, up to its edge')} A cut-out PNG: put **Invert Mask** between.",
                "Press **Run**. The prompts are the article's. Your own description of the finished picture often does more.",
            ),
            turn="*foreground_weight*. **It still looks pasted?** Lower it, then raise *iterations*. **It is no longer your object?** Raise it. "
            "**The background changes?** Raise *background_weight*. **A hard edge?** Raise *feather* of Paste Object. "
            "**No shadow?** The miniature's harmonisation workflow shows how a second Optimize Latent paints one around the object."
            + MEMORY,
            expect="closer light and colour, softer edges, sometimes a contact shadow, within minutes.",
            cannot="turn the object, or redraw it in another style; for that there is TF-ICON.",
            more="The settings are the article's.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, checkpoint.file)
        picture, mask = load_square(graph, "Your picture: paint where the object goes", checkpoint.side)
        reference = load_reference(graph)
    with graph.group("2 Paste") as box:
        pasted = paste(graph, picture, mask, reference)
    with graph.group("3 Harmonise", below=box):
        latent = harmonised(
            graph, model, pasted["pasted"], pasted["mask"], keep_look(graph, model), prompt(graph, model, "Negative prompt", "")
        )
        graph.add("SaveImage", title="3 result", images=decode(graph, model, latent), filename_prefix="Graft/freecompose")
    return graph


def load_reference(graph: Graph) -> Node:
    return graph.add("LoadImage", title="Your reference: paint over the object", at=Place(column=0), image=EXAMPLE)


def paste(graph: Graph, picture: Output, mask: Output, reference: Node) -> Node:
    """The reference's object in the box that is painted on the picture. The node shows it."""
    return graph.add(
        "GraftPasteObject",
        image=picture,
        reference=reference["IMAGE"],
        reference_mask=reference["MASK"],
        place=Choice("mask", mask=mask),
    )


def harmonised(
    graph: Graph,
    model: Model,
    picture: Output,
    mask: Output,
    perceptual: Output,
    negative: Output,
    shows: str | Output = HARMONIOUS,
    stage: Mapping[str, Output] | None = None,
    **settings: Output,
) -> Output:
    """The latent of a picture with something pasted in it, harmonised. The empty prompt is the source's and the negative one."""
    prompts = Prompts(source=negative, target=prompt(graph, model, "A harmonious scene", shows), negative=negative)
    latent = encode_picture(graph, model, picture)
    return optimize(
        graph, model, latent, prompts, Choice("harmonisation", mask=mask, **stage or {}), perceptual, title="Harmonise", **settings
    )


def _text_composition() -> Graph:
    graph = Graph("FreeCompose text composition", "Change what a picture shows by prompt, and keep how it looks.", thumbnail_of=TEXT)
    add_note(
        graph,
        ReadMe(
            "FreeCompose: composition by text",
            "Changes what a picture shows, from one prompt to another. For most of the way the new picture reads the old one's keys and values, "
            "so things stay what they are. No mask is needed.",
            SD21.name,
            steps=(
                f"Choose your checkpoint and your picture, which is cut to a square of {SD21.side} pixels.",
                "Write what it shows and what it should show, in words as alike as can be: what differs is what changes.",
                "Press **Run**. The 500 iterations take minutes.",
            ),
            turn="*source_keys_until*. **Too little changes?** Lower it, then raise *guidance*. **Too much?** Raise it to *iterations*, "
            "or lower *iterations*. **In a hurry?** Set *plateau* to 0.1: it stops when nothing moves any more.",
            expect="an attribute, a piece of clothing, a material, another animal in the same pose.",
            cannot="move things far; harsh colours and smears come with many iterations at high guidance.",
            more="The settings are the article's.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph, SD21.file)
        picture = load_picture(graph, "Your picture", SD21.side)
        graph.add("PreviewImage", title="1 input", images=picture, at=Place(column=1))
    with graph.group("2 Compose"):
        prompts = _prompts(graph, model, "a photo of a dog on a lawn", "a photo of a dog with sunglasses on a lawn")
        latent = optimize(graph, model, encode_picture(graph, model, picture), prompts, Choice("text composition"))
        graph.add("SaveImage", title="2 result", images=decode(graph, model, latent), filename_prefix="Graft/freecompose")
    return graph


def _sketch_composition() -> Graph:
    graph = Graph(
        "FreeCompose sketch composition", "Change a picture by redrawing its sketch; SD1.5 with a T2I-Adapter.", thumbnail_of=TEXT
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: composition by sketch",
            "Changes a picture as its sketch is changed. The old picture is asked with the old sketch, the new one with yours, and what differs is what "
            "changes.",
            f"SD1.5, with a T2I-Adapter for sketches (the article's: {SKETCH_ADAPTER}) in models/controlnet. Adapters for other models do not fit.",
            steps=(
                "Choose your checkpoint and the adapter.",
                "Choose your picture, its sketch, and the sketch with your changes. White lines on black; all three of one size. "
                f"All are cut to a square of {SD15.side} pixels.",
                "Say what the picture shows; one prompt serves both. Press **Run**.",
            ),
            turn="*strength* of both Apply ControlNet. **Too little changes?** Raise it, up to 1.5, then *iterations*. "
            "**The look is lost?** Raise *source_keys_until* (200 is to the end here).",
            expect="outlines move to where you drew them: a longer ear, another hat.",
            cannot="fill a large new thing with detail that the prompt does not name.",
            more="For edges instead of sketches take the adapter for Canny, and *lowest_timestep* 50, *highest_timestep* 950.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph)
        picture = load_picture(graph, "Your picture", SD15.side)
        sketch = load_picture(graph, "The sketch of your picture", SD15.side)
        changed = load_picture(graph, "The sketch with your changes", SD15.side)
    with graph.group("2 Compose"):
        adapter = graph.add(
            "ControlNetLoader", control_net_name=SKETCH_ADAPTER, at=Place(column=0), properties=models("controlnet", SKETCH_ADAPTER)
        )[0]
        shows, negative = prompt(graph, model, "What it shows", "A toy."), prompt(graph, model, "Negative prompt", "")
        old, new = (
            graph.add(
                "ControlNetApplyAdvanced", title=title, positive=shows, negative=negative, control_net=adapter, image=hint, strength=0.9
            )
            for title, hint in (("Old sketch", sketch), ("New sketch", changed))
        )
        # The negative of the source's rows takes the source's own adapter: that of the node for the old sketch stays open.
        prompts = Prompts(source=old["positive"], target=new["positive"], negative=new["negative"])
        latent = optimize(graph, model, encode_picture(graph, model, picture), prompts, Choice("sketch composition"))
        graph.add("SaveImage", title="2 result", images=decode(graph, model, latent), filename_prefix="Graft/freecompose")
    return graph


def _chain() -> Graph:
    graph = Graph(
        "FreeCompose chain",
        "Remove an object, paste another in its place, harmonise it, and change it by prompt.",
        thumbnail_of=HARMONISATION,
    )
    add_note(
        graph,
        ReadMe(
            "FreeCompose: everything in a row",
            "Removes an object, pastes another in its place, makes it fit, and changes the finished picture by a prompt. Every stage shows its picture "
            "and goes on with the one before.",
            SD21.name,
            steps=(
                f"Choose your checkpoint and both pictures; your picture is cut to a square of {SD21.side} pixels.",
                f"{paint('**your picture**', 'over the object that goes, its shadow too')} "
                f"{paint('**your reference**', 'over the object that comes, up to its edge')}",
                "Write the prompts: of your picture, without its object, with the new one, and as it should be in the end.",
                "Press **Run**: 850 iterations with the article's settings. To look after each stage, select its last node and press the play button above "
                "it.",
            ),
            turn="the first stage, until its picture is right; what to turn where, the notes of **FreeCompose removal**, **harmonisation** and **text "
            "composition** say. **The new object goes elsewhere?** Set *place* of Paste Object to *numbers*. **A stage too many?** Select its "
            "Optimize Latent and press Ctrl+B: what comes in goes out." + MEMORY,
            expect="what each stage does alone, and the small drifts of colour of all of them together; it takes as long as all of them.",
            cannot="make up for a bad stage in the next. Get the removal right first.",
        ),
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, SD21.file)
        picture, mask = load_square(graph, "Your picture: paint over the object that goes", SD21.side)
        reference = load_reference(graph)
        perceptual = keep_look(graph, model)
        negative = prompt(graph, model, "Empty prompt", "")
    with graph.group("2 Remove") as removal:
        without = Prompts(
            source=prompt(graph, model, "What your picture shows", "a dog on a lawn"),
            target=prompt(graph, model, "Without its object", "a lawn"),
            negative=negative,
        )
        latent = encode_picture(graph, model, picture)
        latent = optimize(graph, model, latent, without, Choice("removal", mask=mask), perceptual, title="Remove")
        removed = decode(graph, model, latent)
        graph.add("PreviewImage", title="2 removed", images=removed)
    with graph.group("3 Paste and harmonise", below=removal):
        pasted = paste(graph, removed, mask, reference)
        latent = harmonised(graph, model, pasted["pasted"], pasted["mask"], perceptual, negative)
        graph.add("PreviewImage", title="3 harmonised", images=decode(graph, model, latent))
    with graph.group("4 Compose"):
        composed = Prompts(
            source=prompt(graph, model, "With the new object", "a photo of a cat on a lawn"),
            target=prompt(graph, model, "What it should show", "a photo of a cat with a bow tie on a lawn"),
            negative=negative,
        )
        latent = optimize(graph, model, latent, composed, Choice("text composition"), title="Compose")
        graph.add("SaveImage", title="4 result", images=decode(graph, model, latent), filename_prefix="Graft/freecompose")
    return graph
