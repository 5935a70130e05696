"""The language of the package graph: what it builds, what it gives back, and what it complains about. Needs no server."""

from __future__ import annotations

import copy
from xml.etree import ElementTree

import pytest
from graph import Choice, Graph, Place, Subgraph, check, to_prompt, to_svg, to_workflow
from hypothesis import given, settings
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"
TITLE = 30  # pixels of a node's title bar, which stands above its body


def schema(required: dict, outputs: list[str], optional: dict | None = None, **more) -> dict:
    """A node's schema as the host serves it."""
    return {
        "input": {"required": required, "optional": optional or {}},
        "output": outputs,
        "output_name": outputs,
        "python_module": "nodes",
        **more,
    }


STRONG = {"required": {"strength": ["FLOAT", {"default": 0.5, "min": 0, "max": 1}], "mask": ["MASK", {}]}}
OBJECT_INFO = {
    "Load": schema({"file": [["a.safetensors"]]}, ["MODEL", "IMAGE"]),
    "Upload": schema({"image": [[], {"image_upload": True}]}, ["IMAGE", "MASK"]),
    "Number": schema({"value": ["INT", {"default": 0}]}, ["INT"]),
    "Sample": schema(
        {
            "model": ["MODEL"],
            "seed": ["INT", {"default": 0, "min": 0, "control_after_generate": True}],
            "steps": ["INT", {"default": 20, "min": 1, "max": 100}],
            "sampler": ["COMBO", {"options": ["euler", "ddim"]}],
        },
        ["IMAGE"],
    ),
    "Edit": schema(
        {
            "image": ["IMAGE"],
            "mode": ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "plain", "inputs": {}}, {"key": "strong", "inputs": STRONG}]}],
            "references": [
                "COMFY_AUTOGROW_V3",
                {"template": {"input": {"required": {"reference": ["IMAGE", {}]}}, "prefix": "reference", "min": 1, "max": 3}},
            ],
            "amount": ["FLOAT", {"default": 0.25, "advanced": True}],
            "words": ["COMBO", {"options": ["a", "b", "c"], "multiselect": True, "default": ["a"]}],
        },
        ["IMAGE"],
        {"mask": ["MASK"], "flag": ["BOOLEAN", {"default": True}]},
    ),
    "Show": schema({"image": ["IMAGE"]}, [], output_node=True),
}


def described() -> Graph:
    graph = Graph("Test", "A description.")
    graph.note("# Read me")
    with graph.group("Make"):
        model = graph.add("Load", file="a.safetensors")
        picture = graph.add("Upload", image="b.png")
        steps = graph.add("Number", value=7)
        sampled = graph.add("Sample", title="My sampler", model=model["MODEL"], seed=3, steps=steps["INT"], sampler="ddim")
    with graph.group("Edit"):
        edited = graph.add(
            "Edit",
            image=sampled["IMAGE"],
            mode=Choice("strong", strength=0.75, mask=picture["MASK"]),
            references=[picture["IMAGE"], sampled[0]],
            words=["b", "c"],
        )
        graph.add("Show", image=edited["IMAGE"])
    return graph


def built() -> dict:
    return to_workflow(described(), OBJECT_INFO)


def node_of(workflow: dict, kind: str) -> dict:
    return next(node for node in workflow["nodes"] if node["type"] == kind)


# --- the file and its prompt


def test_the_prompt_of_a_built_workflow_is_what_was_described():
    prompt = to_prompt(built(), OBJECT_INFO)
    assert {node: (entry["class_type"], entry["inputs"]) for node, entry in prompt.items()} == {
        "2": ("Load", {"file": "a.safetensors"}),
        "3": ("Upload", {"image": "b.png"}),
        "4": ("Number", {"value": 7}),
        "5": ("Sample", {"model": ["2", 0], "seed": 3, "steps": ["4", 0], "sampler": "ddim"}),
        "6": (
            "Edit",
            {
                "image": ["5", 0],
                "mode": "strong",
                "mode.strength": 0.75,
                "mode.mask": ["3", 1],
                "references.reference0": ["3", 0],
                "references.reference1": ["5", 0],
                "amount": 0.25,
                "words": {"__value__": ["b", "c"]},
                "flag": True,
            },
        ),
        "7": ("Show", {"image": ["6", 0]}),
    }
    assert prompt["5"]["_meta"]["title"] == "My sampler"


def test_a_linked_widget_keeps_its_place_among_the_values():
    node = node_of(built(), "Sample")
    assert node["widgets_values"] == [3, "fixed", 20, "ddim"]
    (steps,) = [entry for entry in node["inputs"] if entry["name"] == "steps"]
    assert steps["widget"] == {"name": "steps"} and steps["link"] is not None


def test_an_upload_has_a_value_for_its_button():
    assert node_of(built(), "Upload")["widgets_values"] == ["b.png", "image"]


def test_a_growing_input_shows_one_free_socket():
    names = [entry["name"] for entry in node_of(built(), "Edit")["inputs"]]
    assert [name for name in names if name.startswith("references.")] == [f"references.reference{index}" for index in range(3)]


def test_the_same_description_gives_the_same_file():
    assert built() == built()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({"stepz": 3}, "no input 'stepz'"), ({"model": 3}, "'model' of Sample is a socket")],
)
def test_a_wrong_input_is_named(inputs, message):
    graph = Graph("Wrong")
    graph.add("Sample", **inputs)
    with pytest.raises(ValueError, match=message):
        to_workflow(graph, OBJECT_INFO)


def test_a_wrong_output_is_named():
    graph = Graph("Wrong")
    graph.add("Sample", model=graph.add("Load")["MODELS"])
    with pytest.raises(ValueError, match="no output 'MODELS'; it has: MODEL, IMAGE"):
        to_workflow(graph, OBJECT_INFO)


def test_an_option_of_another_choice_is_no_input():
    graph = Graph("Wrong")
    graph.add("Edit", mode=Choice("plain", strength=0.5))
    with pytest.raises(ValueError, match=r"no input 'mode\.strength'"):
        to_workflow(graph, OBJECT_INFO)


# --- what the editor can do to a graph


def test_a_muted_node_and_links_from_it_are_left_out():
    workflow = built()
    node_of(workflow, "Sample")["mode"] = 2
    prompt = to_prompt(workflow, OBJECT_INFO)
    assert "5" not in prompt and "image" not in prompt["6"]["inputs"]


def test_a_bypassed_node_hands_on_its_first_input_of_the_type():
    workflow = built()
    node_of(workflow, "Edit")["mode"] = 4
    assert to_prompt(workflow, OBJECT_INFO)["7"]["inputs"] == {"image": ["5", 0]}


def with_node_before_show(workflow: dict, node: dict) -> dict:
    """The workflow with `node` as the origin of what the node Show gets."""
    show = node_of(workflow, "Show")
    workflow["nodes"].append({"id": 90, "mode": 0, **node})
    workflow["links"].append([91, 90, 0, show["id"], 0, "IMAGE"])
    show["inputs"][0]["link"] = 91
    return workflow


def test_reroutes_are_followed():
    workflow = built()
    old = node_of(workflow, "Show")["inputs"][0]["link"]
    reroute = {"type": "Reroute", "inputs": [{"name": "", "type": "*", "link": old}]}
    assert to_prompt(with_node_before_show(workflow, reroute), OBJECT_INFO)["7"]["inputs"] == {"image": ["6", 0]}


def test_a_primitive_becomes_a_constant():
    primitive = {"type": "PrimitiveNode", "inputs": [], "widgets_values": [5, "fixed"]}
    assert to_prompt(with_node_before_show(built(), primitive), OBJECT_INFO)["7"]["inputs"] == {"image": 5}


# --- subgraphs


def make(amount: float | None = 0.5) -> Subgraph:
    """Samples, then edits; `amount` is the preset of an input."""
    subgraph = Subgraph("Make", "Makes a picture.")
    sampled = subgraph.add("Sample", model=subgraph.input("model"), steps=subgraph.input("steps", 50))
    edited = subgraph.add(
        "Edit", image=sampled[0], mode=Choice("strong", mask=subgraph.input("mask")), amount=subgraph.input("amount", amount)
    )
    subgraph.output("edited", edited[0])
    subgraph.output("raw", sampled[0])
    return subgraph


def with_subgraph(subgraph: Subgraph, **inputs) -> Graph:
    """The subgraph between a loader and a viewer: nodes 1 to 4, so that those inside are 5 and 6."""
    graph = Graph("With a subgraph")
    model, picture = graph.add("Load"), graph.add("Upload", image="b.png")
    placed = graph.add(subgraph, model=model["MODEL"], mask=picture["MASK"], **inputs)
    graph.add("Show", image=placed["edited"])
    return graph


def prompt_of(graph: Graph) -> dict:
    return {node: entry["inputs"] for node, entry in to_prompt(to_workflow(graph, OBJECT_INFO), OBJECT_INFO).items()}


def definition_of(workflow: dict) -> dict:
    (definition,) = workflow["definitions"]["subgraphs"]
    return definition


def test_of_a_subgraph_its_inner_nodes_run():
    prompt = prompt_of(with_subgraph(make()))
    assert prompt.keys() == {"1", "2", "3:5", "3:6", "4"}
    assert prompt["3:5"] == {"model": ["1", 0], "seed": 0, "steps": 50, "sampler": "euler"}
    assert prompt["3:6"]["image"] == ["3:5", 0] and prompt["3:6"]["mode.mask"] == ["2", 1]
    assert prompt["4"] == {"image": ["3:6", 0]}


def test_an_input_of_a_subgraph_is_as_set_outside_else_as_preset_else_as_in_the_schema():
    assert [prompt_of(graph)["3:6"]["amount"] for graph in (with_subgraph(make(), amount=0.75), with_subgraph(make()))] == [0.75, 0.5]
    assert prompt_of(with_subgraph(make(amount=None)))["3:6"]["amount"] == 0.25


def test_a_link_outside_reaches_an_input_inside():
    subgraph = make()
    graph = Graph("Linked")
    graph.add(subgraph, model=graph.add("Load")["MODEL"], steps=graph.add("Number", value=7)[0])
    assert prompt_of(graph)["3:4"]["steps"] == ["2", 0]


def test_one_input_may_feed_several_nodes():
    subgraph = Subgraph("Twice")
    seed = subgraph.input("seed", 9)
    for _ in range(2):
        subgraph.add("Sample", seed=seed)
    graph = Graph("Twice")
    graph.add(subgraph)
    assert [entry["seed"] for entry in prompt_of(graph).values()] == [9, 9]


def test_two_nodes_share_a_subgraph_and_not_its_values():
    subgraph = make()
    graph = Graph("Two")
    for steps in (10, 20):
        graph.add(subgraph, model=graph.add("Load")["MODEL"], steps=steps)
    workflow = to_workflow(graph, OBJECT_INFO)
    assert definition_of(workflow)["name"] == "Make"
    prompt = to_prompt(workflow, OBJECT_INFO)
    assert [prompt[node]["inputs"]["steps"] for node in ("2:5", "4:5")] == [10, 20]


def nested() -> Graph:
    """A subgraph whose node stands in another, which stands in a graph."""
    outer = Subgraph("Outer")
    inner = outer.add(make(), model=outer.input("model"), mask=outer.input("mask"), steps=outer.input("steps", 30))
    outer.output("edited", outer.add("Edit", image=inner["edited"])[0])
    return with_subgraph(outer, steps=40)


def test_subgraphs_may_hold_subgraphs():
    prompt = prompt_of(nested())
    edit, sample = next(node for node in prompt if node.endswith(":8")), next(node for node in prompt if node.endswith(":5"))
    assert (edit, sample) == ("3:8", "3:7:5")
    assert prompt[sample]["steps"] == 40 and prompt[sample]["model"] == ["1", 0]
    assert prompt[edit]["image"] == ["3:7:6", 0] and prompt["4"] == {"image": ["3:8", 0]}


@pytest.mark.parametrize("graph", [with_subgraph(make()), nested()], ids=["one", "nested"])
def test_no_two_nodes_of_a_file_share_an_id(graph):
    workflow = to_workflow(graph, OBJECT_INFO)
    nodes = [*workflow["nodes"], *(node for subgraph in workflow["definitions"]["subgraphs"] for node in subgraph["nodes"])]
    assert sorted(node["id"] for node in nodes) == list(range(1, len(nodes) + 1))


def test_a_subgraph_lists_sockets_before_widgets():
    assert [entry["name"] for entry in definition_of(to_workflow(with_subgraph(make()), OBJECT_INFO))["inputs"]] == [
        "model",
        "mask",
        "steps",
        "amount",
    ]


def test_a_muted_subgraph_is_left_out_and_a_bypassed_one_hands_on():
    graph = Graph("Muted")
    subgraph = Subgraph("Edited")
    subgraph.output("picture", subgraph.add("Edit", image=subgraph.input("image"))[0])
    placed = graph.add(subgraph, image=graph.add("Upload")["IMAGE"])
    graph.add("Show", image=placed["picture"])
    prompts = []
    for mode in (2, 4):
        workflow = to_workflow(graph, OBJECT_INFO)
        node_of(workflow, subgraph.id)["mode"] = mode
        prompts.append(to_prompt(workflow, OBJECT_INFO))
    muted, bypassed = prompts
    assert muted.keys() == bypassed.keys() == {"1", "3"}
    assert muted["3"]["inputs"] == {} and bypassed["3"]["inputs"] == {"image": ["1", 0]}


def test_a_drawn_subgraph_shows_its_title_and_its_values():
    subgraph = Subgraph("Seeded")
    subgraph.output("image", subgraph.add("Sample", seed=subgraph.input("seed", 5), steps=subgraph.input("steps", 50))[0])
    graph = Graph("Drawn")
    graph.add(subgraph)
    picture = to_svg(to_workflow(graph, OBJECT_INFO), OBJECT_INFO)
    assert all(text in picture for text in ("Seeded", "seed: 5", "steps: 50"))


def test_an_input_that_nothing_takes_is_named():
    subgraph = make()
    subgraph.input("colour")
    with pytest.raises(ValueError, match="Nothing in the subgraph 'Make' takes its input 'colour'"):
        to_workflow(with_subgraph(subgraph), OBJECT_INFO)


def test_a_wrong_input_of_a_subgraph_is_named():
    with pytest.raises(ValueError, match="Make has no input 'colour' here; it has: model, mask, steps, amount"):
        to_workflow(with_subgraph(make(), colour=1), OBJECT_INFO)


def test_a_changed_schema_is_noticed_inside_a_subgraph():
    workflow = to_workflow(nested(), OBJECT_INFO)
    renamed = changed("Sample", lambda node: node["input"].update(required=rename(node["input"]["required"], "steps", "count")))
    assert any("Sample (node 5 in Make, Sample): the schema has no input 'steps'" in found for found in check(workflow, renamed))
    removed = {name: entry for name, entry in OBJECT_INFO.items() if name != "Sample"}
    assert any("Sample (node 5 in Make, Sample): there is no such node class" in found for found in check(workflow, removed))


def test_nodes_do_not_overlap_inside_a_subgraph_and_stand_between_its_ends():
    definition = definition_of(to_workflow(with_subgraph(make()), OBJECT_INFO))
    assert overlapping(definition) == []
    entry, exit_ = (definition[end]["bounding"] for end in ("inputNode", "outputNode"))
    assert all(entry[0] + entry[2] < node["pos"][0] and node["pos"][0] + node["size"][0] < exit_[0] for node in definition["nodes"])


# --- complaints


def test_a_built_workflow_is_accepted():
    assert check(built(), OBJECT_INFO) == []


def changed(kind: str, edit) -> dict:
    """The schema after `edit` changed that of one node."""
    object_info = copy.deepcopy(OBJECT_INFO)
    edit(object_info[kind])
    return object_info


def rename(required: dict, old: str, new: str) -> dict:
    return {new if name == old else name: spec for name, spec in required.items()}


@pytest.mark.parametrize(
    ("object_info", "complaint"),
    [
        ({name: entry for name, entry in OBJECT_INFO.items() if name != "Edit"}, "no such node class"),
        (
            changed("Sample", lambda node: node["input"].update(required=rename(node["input"]["required"], "steps", "count"))),
            "no input 'steps'",
        ),
        (
            changed("Sample", lambda node: node["input"].update(required=rename(node["input"]["required"], "model", "unet"))),
            "no input 'model'",
        ),
        (
            changed("Sample", lambda node: node["input"]["required"].update(sampler=["COMBO", {"options": ["euler"]}])),
            "does not offer 'ddim'",
        ),
        (changed("Sample", lambda node: node["input"]["required"].update(extra=["INT", {}])), "an input 'extra' that the workflow lacks"),
        (changed("Number", lambda node: node["input"]["required"].update(value=["INT", {"max": 5}])), "goes from -inf to 5; 7 is outside"),
        (changed("Number", lambda node: node["input"]["required"].update(value=["STRING", {}])), "is of type STRING, not 7"),
        (changed("Load", lambda node: node.update(output_name=["model", "IMAGE"])), "no output 'MODEL'"),
        (changed("Show", lambda node: node["input"].update(required={"image": ["MASK"]})), "takes MASK, but the link brings IMAGE"),
        (changed("Edit", lambda node: node["input"]["required"]["mode"][1]["options"].pop()), "does not offer 'strong'"),
    ],
)
def test_a_changed_schema_is_noticed(object_info, complaint):
    assert any(complaint in found for found in check(built(), object_info))


def test_a_missing_link_is_noticed():
    workflow = built()
    node_of(workflow, "Show")["inputs"][0]["link"] = None
    assert check(workflow, OBJECT_INFO) == ["Show (node 7, Show): the input 'image' needs a link."]


def test_a_checkpoint_that_is_not_installed_is_no_complaint():
    workflow = built()
    node_of(workflow, "Load")["widgets_values"] = ["another.safetensors"]
    assert check(workflow, OBJECT_INFO) == []


# --- layout


def overlapping(workflow: dict) -> list[tuple[int, int]]:
    """Pairs of nodes whose bodies or title bars meet."""
    boxes = [(node["id"], *node["pos"], *node["size"]) for node in workflow["nodes"]]
    return [
        (a, b)
        for a, ax, ay, aw, ah in boxes
        for b, bx, by, bw, bh in boxes
        if a < b and ax < bx + bw and bx < ax + aw and ay - TITLE < by + bh and by - TITLE < ay + ah
    ]


def inside(node: dict, frame: dict) -> bool:
    x, y, width, height = frame["bounding"]
    return (
        x <= node["pos"][0]
        and node["pos"][0] + node["size"][0] <= x + width
        and y < node["pos"][1]
        and node["pos"][1] + node["size"][1] <= y + height
    )


def test_links_within_a_group_lead_to_the_right():
    workflow = built()
    nodes = {node["id"]: node for node in workflow["nodes"]}
    within = [
        (nodes[origin], nodes[target])
        for _, origin, _, target, _, _ in workflow["links"]
        if any(inside(nodes[origin], group) and inside(nodes[target], group) for group in workflow["groups"])
    ]
    assert within
    for origin, target in within:
        assert origin["pos"][0] + origin["size"][0] < target["pos"][0]


@st.composite
def graphs(draw) -> Graph:
    """Boxes of samplers, notes and viewers, some under others, some nodes put by hand."""
    graph, boxes = Graph("Random"), []
    for number in range(draw(st.integers(1, 4))):
        below = draw(st.sampled_from([None, *boxes]))
        with graph.group(f"Group {number}", below=below) as box:
            boxes.append(box)
            for _ in range(draw(st.integers(1, 5))):
                place = Place(column=draw(st.none() | st.integers(0, 2)), row=draw(st.none() | st.integers(0, 2)))
                sources = [node for node in graph.nodes if node.kind == "Edit"]
                if not sources or draw(st.booleans()):
                    graph.add("Edit", title="A title of some length" * draw(st.integers(1, 3)), at=place)
                else:
                    graph.add("Show", image=draw(st.sampled_from(sources))[0], at=place)
        if draw(st.booleans()):
            graph.note("A note. " * draw(st.integers(1, 60)))
    return graph


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_nodes_never_overlap_and_lie_in_their_own_frame_only(graph):
    workflow = to_workflow(graph, OBJECT_INFO)
    assert overlapping(workflow) == []
    members = {group.title: {node.id for node in group.nodes} for group in graph.groups if group.title}
    for frame in workflow["groups"]:
        assert {node["id"] for node in workflow["nodes"] if inside(node, frame)} == members[frame["title"]]


class TestDrawing:
    @pytest.fixture
    def workflow(self) -> dict:
        return to_workflow(described(), OBJECT_INFO)

    @pytest.fixture
    def drawing(self, workflow) -> ElementTree.Element:
        return ElementTree.fromstring(to_svg(workflow, {**OBJECT_INFO, "Load": {**OBJECT_INFO["Load"], "display_name": "Load <it>"}}))

    def test_a_line_for_every_link(self, workflow, drawing):
        assert len(drawing.findall(f"{SVG}path")) == len(workflow["links"]) > 0

    def test_everything_stands_within_the_view(self, workflow, drawing):
        left, top, width, height = map(float, drawing.get("viewBox").split())
        for box in drawing.findall(f"{SVG}rect"):
            x, y, w, h = (float(box.get(name)) for name in ("x", "y", "width", "height"))
            assert left < x and x + w < left + width and top < y and y + h < top + height

    def test_nodes_have_their_display_names_unless_they_have_a_title(self, workflow, drawing):
        texts = [text.text for text in drawing.iter(f"{SVG}text")]
        assert "Load <it>" in texts
        assert all(node["title"] in texts for node in workflow["nodes"] if "title" in node)
