"""FreeCompose with SD2.1 and SD1.5 checkpoints: removal, harmonisation, composition by text and by sketch, each alone, and all in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph import Choice, Graph, Node, Output, Place

from . import Model, load_checkpoint

REMOVAL = "FreeCompose removal (miniature)"
HARMONISATION = "FreeCompose harmonisation (miniature)"
TEXT = "FreeCompose text composition (miniature)"
"""The miniature's workflows of these stages, described in freecompose_miniature.py."""
CHECKPOINT, SIDE = "v2-1_512-ema-pruned.safetensors", 512
SKETCH_ADAPTER = "t2iadapter_sketch_sd15v2.pth"
HARMONIOUS = "A harmonious scene."
"""The article's prompt."""
MEMORY = (
    "**Out of memory?** The perceptual loss needs most of it: give its *vae* a TAESD (Load VAE), or set its *network* to *latent*. "
    "The article compares pictures by LPIPS: *network* *lpips*, which needs files in models/lpips."
)


def graphs() -> list[Graph]:
    return [_removal(), _harmonisation(), _text_composition(), _sketch_composition(), _chain()]


@dataclass(frozen=True)
class Prompts:
    """What the picture shows, what it shall show, and what guidance compares with."""

    source: Output
    target: Output
    negative: Output


def prompt(graph: Graph, model: Model, title: str, text: str | Output) -> Output:
    return graph.add("CLIPTextEncode", title=title, clip=model.clip, text=text, at=Place(column=0))[0]


def keep_look(graph: Graph, model: Model) -> Output:
    """The perceptual loss that needs no file."""
    return graph.add("GraftPerceptualLoss", network=Choice("vae", vae=model.vae), at=Place(column=0))["perceptual"]


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


@dataclass(frozen=True)
class Loaded:
    """A picture of the user's and what is painted on it, cut to a square."""

    picture: Output
    mask: Output


def load(graph: Graph, title: str) -> Loaded:
    loaded = graph.add("LoadImage", title=title, at=Place(column=0), image="example.png")
    square = Choice("scale dimensions", width=SIDE, height=SIDE, crop="center")
    picture, mask = (
        graph.add("ResizeImageMaskNode", title=f"Resize the {name}", input=loaded[output], resize_type=square, scale_method=method)[0]
        for name, output, method in (("picture", "IMAGE", "lanczos"), ("mask", "MASK", "area"))
    )
    return Loaded(picture, mask)


def _load_picture(graph: Graph, title: str) -> Output:
    loaded = graph.add("LoadImage", title=title, at=Place(column=0), image="example.png")
    return graph.add(
        "ImageScale", image=loaded["IMAGE"], upscale_method="lanczos", width=SIDE, height=SIDE, crop="center", at=Place(column=1)
    )["IMAGE"]


def _prompts(graph: Graph, model: Model, shows: str, should_show: str) -> Prompts:
    return Prompts(
        source=prompt(graph, model, "What your picture shows", shows),
        target=prompt(graph, model, "What it should show", should_show),
        negative=prompt(graph, model, "Negative prompt", ""),
    )


def _removal() -> Graph:
    graph = Graph("FreeCompose removal", "Remove an object from a picture; what was behind it is painted anew.", thumbnail_of=REMOVAL)
    graph.note(
        "## FreeCompose: removal\n"
        "Removes an object. Step by step the picture moves from what the first prompt says to what the second says, and cannot see the object "
        "while it does.\n\n"
        "1. Choose your checkpoint (SD2.1-base; SD1.x and SDXL work too) and your picture.\n"
        "2. Open the picture in **Mask Editor** (right click on it) and paint over the object, **its shadow and its reflection too**.\n"
        "3. Write what the picture shows, and what it shows without the object. Press **Run**. The settings are the article's; "
        "the picture is shown while it changes.\n\n"
        "**Something of it is left?** Paint a little wider; say in the second prompt what is behind it; raise *iterations*. "
        "**A bright or dark ghost?** Lower *guidance*. **The rest changes?** Raise *background_weight*.\n\n"
        f"{MEMORY}\n\n"
        "**What to expect:** grass, sky, a wall, water close over the gap; a small picture-wide drift of colours is usual. "
        "**What it cannot do:** know what was really there, or remove an object that fills the picture.",
        title="Read me",
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph, CHECKPOINT)
        loaded = load(graph, "Your picture: paint over the object and its shadow")
    with graph.group("2 Remove"):
        prompts = _prompts(graph, model, "a dog on a lawn", "a lawn")
        latent = optimize(
            graph,
            model,
            encode_picture(graph, model, loaded.picture),
            prompts,
            Choice("removal", mask=loaded.mask),
            keep_look(graph, model),
        )
        graph.add("SaveImage", title="2 result", images=decode(graph, model, latent), filename_prefix="Graft/freecompose")
    return graph


def _harmonisation() -> Graph:
    graph = Graph(
        "FreeCompose harmonisation", "Paste an object into a picture and let light, colours and edges agree.", thumbnail_of=HARMONISATION
    )
    graph.note(
        "## FreeCompose: harmonisation\n"
        "Cuts an object out of one picture, pastes it into another, and lets the model make both agree: light, colour, edge, shadow.\n\n"
        "1. Choose your checkpoint (SD2.1-base; every model that ComfyUI samples works) and both pictures.\n"
        "2. Open **your picture** in **Mask Editor** (right click on it) and paint where the object shall be: the box around your strokes counts.\n"
        "3. Open **your reference** and paint over the object, up to its edge. A cut-out PNG: put **Invert Mask** between.\n"
        "4. Press **Run**. The prompts and settings are the article's. Your own description of the finished picture often does more.\n\n"
        "**It still looks pasted?** Lower *foreground_weight*, then raise *iterations*. **It is no longer your object?** Raise *foreground_weight*. "
        "**The background changes?** Raise *background_weight*. **A hard edge?** Raise *feather* of Paste Object. "
        "**No shadow?** The miniature's harmonisation workflow shows how a second Optimize Latent paints one around the object.\n\n"
        f"{MEMORY}\n\n"
        "**What to expect:** closer light and colour, softer edges, sometimes a contact shadow. "
        "**What it cannot do:** turn the object, or redraw it in another style; for that there is TF-ICON.",
        title="Read me",
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, CHECKPOINT)
        loaded = load(graph, "Your picture: paint where the object goes")
        reference = load_reference(graph)
    with graph.group("2 Paste") as box:
        pasted = paste(graph, loaded, reference)
    with graph.group("3 Harmonise", below=box):
        latent = harmonised(
            graph, model, pasted["pasted"], pasted["mask"], keep_look(graph, model), prompt(graph, model, "Negative prompt", "")
        )
        graph.add("SaveImage", title="3 result", images=decode(graph, model, latent), filename_prefix="Graft/freecompose")
    return graph


def load_reference(graph: Graph) -> Node:
    return graph.add("LoadImage", title="Your reference: paint over the object", at=Place(column=0), image="example.png")


def paste(graph: Graph, loaded: Loaded, reference: Node, picture: Output | None = None) -> Node:
    """The reference's object in the box that is painted on the picture. The node shows it."""
    return graph.add(
        "GraftPasteObject",
        image=picture or loaded.picture,
        reference=reference["IMAGE"],
        reference_mask=reference["MASK"],
        place=Choice("mask", mask=loaded.mask),
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
    graph.note(
        "## FreeCompose: composition by text\n"
        "Changes what a picture shows, from one prompt to another. For most of the way the new picture reads the old one's keys and values, "
        "so things stay what they are. No mask is needed.\n\n"
        "1. Choose your checkpoint (SD2.1-base; SD1.x and SDXL work too) and your picture.\n"
        "2. Write what it shows and what it should show, in words as alike as can be: what differs is what changes.\n"
        "3. Press **Run**. The settings are the article's, and 500 iterations take minutes.\n\n"
        "**Too little changes?** Lower *source_keys_until*, then raise *guidance*. **Too much?** Raise *source_keys_until* to *iterations*, "
        "or lower *iterations*. **In a hurry?** Set *plateau* to 0.1: it stops when nothing moves any more.\n\n"
        "**What to expect:** an attribute, a piece of clothing, a material, another animal in the same pose. "
        "**What it cannot do:** move things far; harsh colours and smears come with many iterations at high guidance.",
        title="Read me",
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph, CHECKPOINT)
        picture = _load_picture(graph, "Your picture")
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
    graph.note(
        "## FreeCompose: composition by sketch\n"
        "Changes a picture as its sketch is changed. The old picture is asked with the old sketch, the new one with yours, and what differs is what "
        "changes.\n\n"
        f"1. Choose an **SD1.5** checkpoint and put a T2I-Adapter for sketches (the article's: {SKETCH_ADAPTER}) into models/controlnet. "
        "Adapters for other models do not fit.\n"
        "2. Choose your picture, its sketch, and the sketch with your changes. White lines on black; all three of one size.\n"
        "3. Say what the picture shows; one prompt serves both. Press **Run**.\n\n"
        "**Too little changes?** Raise *strength* of both Apply ControlNet, up to 1.5, or *iterations*. "
        "**The look is lost?** Raise *source_keys_until* (200 is to the end here).\n\n"
        "For edges instead of sketches take the adapter for Canny, and *lowest_timestep* 50, *highest_timestep* 950.\n\n"
        "**What to expect:** outlines move to where you drew them: a longer ear, another hat. "
        "**What it cannot do:** fill a large new thing with detail that the prompt does not name.",
        title="Read me",
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph)
        picture = _load_picture(graph, "Your picture")
        sketch = _load_picture(graph, "The sketch of your picture")
        changed = _load_picture(graph, "The sketch with your changes")
    with graph.group("2 Compose"):
        adapter = graph.add("ControlNetLoader", control_net_name=SKETCH_ADAPTER, at=Place(column=0))[0]
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
    graph.note(
        "## FreeCompose: everything in a row\n"
        "Removes an object, pastes another in its place, makes it fit, and changes the finished picture by a prompt. Every stage shows its picture "
        "and goes on with the one before.\n\n"
        "1. Choose your checkpoint (SD2.1-base) and both pictures.\n"
        "2. Open **your picture** in **Mask Editor** (right click on it) and paint over the object that goes, its shadow too. "
        "Open **your reference** and paint over the object that comes, up to its edge.\n"
        "3. Write the prompts: of your picture, without its object, with the new one, and as it should be in the end.\n"
        "4. Press **Run**: 850 iterations with the article's settings. To look after each stage, select its last node and press the play button above it.\n\n"
        "**The new object goes elsewhere?** Set *place* of Paste Object to *numbers*. **A stage too many?** Select its Optimize Latent and press Ctrl+B: "
        "what comes in goes out.\n\n"
        "What to turn where: see the workflows of each stage.\n\n"
        f"{MEMORY}\n\n"
        "**What it cannot do:** make up for a bad stage in the next. Get the removal right first.",
        title="Read me",
    )
    with graph.group("1 Model and pictures"):
        model = load_checkpoint(graph, CHECKPOINT)
        loaded = load(graph, "Your picture: paint over the object that goes")
        reference = load_reference(graph)
        perceptual = keep_look(graph, model)
        negative = prompt(graph, model, "Empty prompt", "")
    with graph.group("2 Remove") as removal:
        without = Prompts(
            source=prompt(graph, model, "What your picture shows", "a dog on a lawn"),
            target=prompt(graph, model, "Without its object", "a lawn"),
            negative=negative,
        )
        latent = encode_picture(graph, model, loaded.picture)
        latent = optimize(graph, model, latent, without, Choice("removal", mask=loaded.mask), perceptual, title="Remove")
        removed = decode(graph, model, latent)
        graph.add("PreviewImage", title="2 removed", images=removed)
    with graph.group("3 Paste and harmonise", below=removal):
        pasted = paste(graph, loaded, reference, removed)
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
