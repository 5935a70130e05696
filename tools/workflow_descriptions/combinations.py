"""The methods together with what artists already use: a ControlNet, a LoRA, another attention patch, a crop that is stitched back, FreeU."""

from __future__ import annotations

from graph import Graph, Place

from . import CONTROL_NET, SD15, Model, blueprints, free_prompt_editing, load_checkpoint, load_picture, models, specref, tf_icon
from .easy import MIXED_SCENES, load, place
from .freecompose import REMOVAL
from .notes import ReadMe, add_note, paint

LORA = "your_lora.safetensors"


def graphs() -> list[Graph]:
    return [_control_net(), _lora(), _attention_patch(), _crop_and_stitch(), _free_u()]


def _control_net() -> Graph:
    graph = Graph(
        "Edit Picture by Prompt with ControlNet",
        "Change what a picture shows by prompt; edges of the old picture hold the new one too.",
        thumbnail_of=free_prompt_editing.MINIATURE,
    )
    add_note(
        graph,
        ReadMe(
            "Edit Picture by Prompt with a ControlNet",
            "Free-Prompt-Editing keeps the layout; a ControlNet for edges, which only the new picture sees, keeps the outlines as well.",
            f"SD1.5, and an SD1.5 ControlNet for Canny edges ({CONTROL_NET}).",
            steps=(
                f"Choose your checkpoint, the ControlNet, and your picture, which is cut to a square of {SD15.side} pixels.",
                "Write what the new one shows, press **Run**.",
            ),
            turn="*strength* or *end_percent* of Apply ControlNet, if the outlines hold too fast: lower them. "
            "**Too little changes?** Lower *end_percent* of Replace Self-Attention first.",
            expect="other materials, colours and styles within the same outlines.",
            cannot="change shapes; for that leave the ControlNet out.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph)
        control = graph.add(
            "ControlNetLoader", control_net_name=CONTROL_NET, at=Place(column=0), properties=models("controlnet", CONTROL_NET)
        )
        picture = load_picture(graph, "Your picture", SD15.side)
        edges = graph.add("Canny", image=picture, at=Place(column=1))[0]
        graph.add("PreviewImage", title="1 edges", images=edges, at=Place(column=1))
    trajectory, empty, box = free_prompt_editing.inversion(graph, model, picture, steps=50)
    with graph.group("3 Edit", below=box):
        target = graph.add("CLIPTextEncode", title="What it should show", clip=model.clip, text="a house made of glass")
        held = graph.add(
            "ControlNetApplyAdvanced",
            positive=target[0],
            negative=empty,
            control_net=control[0],
            image=edges,
            strength=0.6,
            end_percent=0.6,
        )
        result = free_prompt_editing.edit(graph, model, trajectory, empty, held["positive"], held["negative"], cfg=7.5)
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/free-prompt-editing")
    return graph


def _lora() -> Graph:
    graph = Graph(
        "Edit with a Reference Picture and a LoRA",
        "Change a thing in a picture to that of a reference picture, with a LoRA of yours on the model.",
        thumbnail_of=specref.MINIATURE,
    )
    add_note(
        graph,
        ReadMe(
            "Edit with a Reference Picture, and a LoRA",
            "SpecRef on a model with a LoRA: both pictures are inverted, and the new one is made, by the model as the LoRA makes it.",
            "SD1.5, and an SD1.5 LoRA of yours; another SD1.x, SD2.x or SDXL checkpoint works with LoRAs made for it.",
            steps=(
                "Choose your checkpoint and your LoRA.",
                "Choose your picture and your reference. " + paint("your reference", "over its object"),
                "Write what your picture shows and what it should show, with the LoRA's trigger word if it has one; then the words that go, "
                "and the words that come. Press **Run**.",
            ),
            turn="*strength_model*. **The picture drifts away from yours?** Lower it: the further a LoRA takes a model from photographs, the worse it "
            "retraces one. **Too little of the LoRA?** Raise it.",
            expect="the reference's look in the LoRA's style.",
            cannot="restyle what the words do not name; for that use **Edit Picture by Prompt**, with the LoRA in the same place.",
        ),
    )
    with graph.group("1 Model and pictures"):
        plain = load_checkpoint(graph)
        lora = graph.add("LoraLoader", model=plain.unet, clip=plain.clip, lora_name=LORA, strength_model=0.8, strength_clip=0.8)
        model = Model(lora["MODEL"], lora["CLIP"], plain.vae)
        picture, reference = load(graph, "Your picture"), load(graph, "Your reference: paint the object")
    with graph.group("2 Edit"):
        edited = place(
            graph,
            blueprints.edit_with_reference(),
            model,
            picture=picture["IMAGE"],
            reference=reference["IMAGE"],
            reference_mask=reference["MASK"],
        )
        graph.add("SaveImage", title="2 result", images=edited["picture"], filename_prefix="Graft/specref")
    return graph


def _attention_patch() -> Graph:
    graph = Graph(
        "Place Object Into Picture with Perturbed Attention",
        "Put an object into a picture, with perturbed-attention guidance for clearer shapes.",
        thumbnail_of=tf_icon.INTO_DRAWING,
    )
    add_note(
        graph,
        ReadMe(
            "Place Object Into Picture, with another attention patch",
            "TF-ICON on a model that carries perturbed-attention guidance: a patch of self-attention stays in force under the method's own.",
            SD15.name,
            steps=(
                "Choose your checkpoint and both pictures.",
                f"{paint('your picture', 'where the object goes')} {paint('your reference', 'over the object')}",
                "Write what the finished picture shows, its style too. Press **Run**.",
            ),
            turn="*scale* of PerturbedAttentionGuidance. **Shapes stay vague?** Raise it. **Harsh contrasts?** Lower it, or *cfg*.",
            expect="firmer shapes, half as much time again. FreeU, or any other patch of the model, goes in the same place.",
            cannot="make up for a paste in the wrong place.",
        ),
    )
    with graph.group("1 Model and pictures"):
        plain = load_checkpoint(graph)
        patched = graph.add("PerturbedAttentionGuidance", model=plain.unet, scale=1.5)
        picture, reference = load(graph, "Your picture: paint where it goes"), load(graph, "Your reference: paint the object")
    with graph.group("2 Place"):
        placed = place(
            graph,
            blueprints.place_object(),
            Model(patched[0], plain.clip, plain.vae),
            picture=picture["IMAGE"],
            where=picture["MASK"],
            reference=reference["IMAGE"],
            object=reference["MASK"],
            cfg=4.0,
        )
        graph.add("SaveImage", title="2 result", images=placed["picture"], filename_prefix="Graft/tf-icon")
    return graph


def _crop_and_stitch() -> Graph:
    graph = Graph(
        "Remove Object in a crop",
        "Remove a small object from a large picture: a square around it is cut out, edited and put back.",
        thumbnail_of=REMOVAL,
    )
    add_note(
        graph,
        ReadMe(
            "Remove Object in a crop",
            "For large pictures: only a square around the object goes through the model, at full detail, and only what you painted, a little wider, "
            "comes back. The rest of the picture stays to the bit.",
            SD15.name,
            steps=(
                "Choose your checkpoint and your picture.",
                paint("the picture", "over the object, its shadow too"),
                "Set **Left**, **Top** and **Side** of the square so that the object lies well inside: look at **1 crop**.",
                "Write what the *crop* shows, and what it shows without the object. Press **Run**.",
            ),
            turn="the square. **A seam?** Raise *expand* of A margin, then *blur_radius* of Soften the edge. "
            "**Something of the object is left?** Raise *grow_mask*.",
            expect="as sharp as the picture around where the square is 512 pixels or smaller.",
            cannot="see beyond the square: leave the object room.",
        ),
    )
    with graph.group("1 Model and picture"):
        model = load_checkpoint(graph)
        loaded = load(graph, "Your picture: paint the object")
        left, top, side = (
            graph.add("PrimitiveInt", title=title, value=value, at=Place(column=0))[0]
            for title, value in (("Left", 128), ("Top", 128), ("Side", 512))
        )
    with graph.group("2 Crop"):
        square = {"x": left, "y": top, "width": side, "height": side}
        region = graph.add("PrimitiveBoundingBox", **square, at=Place(column=0))
        crop = graph.add("ImageCropV2", image=loaded["IMAGE"], crop_region=region[0])
        mask = graph.add("CropMask", mask=loaded["MASK"], **square, at=Place(column=1))
        graph.add("PreviewImage", title="1 crop", images=crop[0], at=Place(column=2))
    with graph.group("3 Remove"):
        removed = place(graph, blueprints.remove_object(), model, picture=crop[0], mask=mask[0])
    with graph.group("4 Stitch"):
        stitched = {"destination": loaded["IMAGE"], "source": removed["picture"], "x": left, "y": top}
        result = graph.add("ImageCompositeMasked", title="Put the crop back", **stitched)[0]
        graph.add("SaveImage", title="2 result", images=result, filename_prefix="Graft/remove-object")
    return graph


def _free_u() -> Graph:
    graph = Graph(
        "Mix Content and Look with FreeU",
        "Give a picture the content of another one, on a model with FreeU.",
        thumbnail_of=MIXED_SCENES,
    )
    add_note(
        graph,
        ReadMe(
            "Mix Content and Look, with FreeU",
            "InjectFusion changes the UNet's bottleneck, FreeU the layers behind it: both at once. FreeU strengthens what comes from the bottleneck, "
            "and with it the content.",
            SD15.name,
            steps=("Choose your checkpoint and two pictures.", "Press **Run**."),
            turn="*b1* of FreeU. **Too little content?** Raise it to 1.1 or 1.2, then *amount_of_content*. **Flat, waxy pictures?** Lower *b1* and *b2*.",
            expect="a slight effect, a little stronger than without. The pictures are inverted by the same model; "
            "with strong FreeU they come back less exactly.",
            cannot="carry small things over.",
        ),
    )
    with graph.group("1 Model and pictures"):
        plain = load_checkpoint(graph)
        patched = graph.add("FreeU_V2", model=plain.unet, b1=1.05, b2=1.1, s1=0.95, s2=0.8)
        look, content = load(graph, "The look"), load(graph, "The content")
    with graph.group("2 Mix"):
        mixed = place(graph, blueprints.mix(), Model(patched[0], plain.clip, plain.vae), look=look["IMAGE"], content=content["IMAGE"])
        graph.add("SaveImage", title="2 result", images=mixed["picture"], filename_prefix="Graft/injectfusion")
    return graph
