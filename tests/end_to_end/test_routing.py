"""How wires are led around nodes: which ones, through which reroutes, and that the editor's curves then touch no node."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping

from graph import Graph, Place, Subgraph, to_svg, to_workflow
from graph.routing import LANE
from graph.wires import bodies, covering, hidden_wires
from hypothesis import given, settings
from hypothesis import strategies as st

PICTURE = ["IMAGE"]
INFO = {
    "Make": {"input": {}, "output": ["IMAGE", "MASK"], "output_name": ["IMAGE", "MASK"]},
    "Pass": {
        "input": {"required": {"image": PICTURE}, "optional": {"mask": ["MASK"], "size": ["INT", {"default": 1}]}},
        "output": PICTURE,
        "output_name": PICTURE,
    },
}


def row(readers: int, mask: bool = False) -> dict:
    """A node and, in a row behind it, nodes that read one another; the last ones also read the first."""
    graph = Graph("Row")
    with graph.group("row"):
        first = last = graph.add("Make")
        for column in range(1, 4):
            last = graph.add("Pass", image=last[0], at=Place(column=column))
        for column in range(4, 4 + readers):
            graph.add("Pass", image=first[0], at=Place(column=column), **({"mask": first[1]} if mask else {}))
    return to_workflow(graph, INFO)


def reroutes(workflow: Mapping) -> list[dict]:
    return workflow["extra"].get("reroutes", [])


def test_a_wire_under_a_node_is_found():
    workflow = row(1)
    assert hidden_wires(workflow) == []
    del workflow["extra"]["reroutes"], workflow["extra"]["linkExtensions"]
    assert hidden_wires(workflow) == [f"Make (1) to Pass (5) under Pass ({node})" for node in (2, 3, 4)]


def test_a_wire_that_comes_back_under_its_own_node_is_found():
    workflow = row(1)
    (maker, *_), (reader, *_) = workflow["nodes"], [node for node in workflow["nodes"] if node["id"] == 5]
    reader["pos"] = [maker["pos"][0] - 400, maker["pos"][1]]
    del workflow["extra"]["reroutes"], workflow["extra"]["linkExtensions"]
    assert "Make (1) to Pass (5) under Make (1)" in hidden_wires(workflow)


def test_wires_that_are_seen_stay_as_they_are():
    workflow = row(0)
    assert workflow["links"] and "reroutes" not in workflow["extra"] and "linkExtensions" not in workflow["extra"]
    (hidden,) = [link[0] for link in row(1)["links"] if link[3] == 5]
    assert {link for reroute in reroutes(row(1)) for link in reroute["linkIds"]} == {hidden}


def test_wires_of_one_output_share_their_way():
    alone, together = reroutes(row(1)), reroutes(row(3))
    assert any(len(reroute["linkIds"]) == 3 for reroute in together)
    assert len(together) < 3 * len(alone)


def test_wires_of_two_outputs_keep_apart():
    points = {}
    for reroute in reroutes(row(2, mask=True)):
        points.setdefault(tuple(reroute["linkIds"]), []).append(reroute["pos"])
    kinds = {link[0]: link[5] for link in row(2, mask=True)["links"]}
    pictures, masks = ([point for links, some in points.items() if kinds[links[0]] == kind for point in some] for kind in ("IMAGE", "MASK"))
    assert pictures and masks
    assert min(math.dist(*pair) for pair in itertools.product(pictures, masks)) >= LANE


def test_a_drawing_leads_wires_through_their_reroutes():
    workflow = row(1)
    ends = [curve.split()[-2:] for path in re.findall(r'd="M([^"]+)"', to_svg(workflow, INFO)) for curve in path.split("C")]
    assert reroutes(workflow)
    assert all([f"{x:g}", f"{y:g}"] in ends for x, y in (reroute["pos"] for reroute in reroutes(workflow)))


def test_ends_of_a_subgraph_are_ends_of_wires():
    inside = Subgraph("Inside")
    picture = inside.input("picture")
    with inside.group("row"):
        last = inside.add("Pass", image=picture)
        for column in range(1, 4):
            last = inside.add("Pass", image=last[0], at=Place(column=column))
        inside.output("first", inside.add("Pass", image=picture, at=Place(column=4))[0])
        inside.output("picture", last[0])
    graph = Graph("Around")
    graph.add(inside, picture=graph.add("Make")[0])
    (definition,) = to_workflow(graph, INFO)["definitions"]["subgraphs"]
    assert hidden_wires(definition) == []
    assert {link["id"] for link in definition["links"] if "parentId" in link} == {
        link for reroute in definition["reroutes"] for link in reroute["linkIds"]
    }
    assert definition["state"]["lastRerouteId"] == len(definition["reroutes"])
    bare = {**definition, "reroutes": [], "links": [{k: v for k, v in link.items() if k != "parentId"} for link in definition["links"]]}
    assert any(hidden.startswith("entry to") for hidden in hidden_wires(bare))
    assert any(" to exit under" in hidden for hidden in hidden_wires(bare))


@st.composite
def graphs(draw) -> Graph:
    """Nodes in some groups that read any of those before them."""
    graph = Graph("Random")
    made = []
    for number in range(draw(st.integers(1, 3))):
        with graph.group(f"Group {number}"):
            for _ in range(draw(st.integers(1, 5))):
                place = Place(column=draw(st.none() | st.integers(0, 3)))
                if not made or draw(st.booleans()):
                    made.append(graph.add("Make", at=place))
                else:
                    made.append(graph.add("Pass", image=draw(st.sampled_from(made))[0], at=place))
    return graph


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_every_graph_can_be_followed(graph):
    workflow = to_workflow(graph, INFO)
    assert hidden_wires(workflow) == []
    ways = {reroute["id"]: reroute for reroute in reroutes(workflow)}
    for reroute in ways.values():
        assert covering((tuple(reroute["pos"]),) * 4, bodies(workflow)) == []
        assert reroute.get("parentId") is None or set(reroute["linkIds"]) <= set(ways[reroute["parentId"]]["linkIds"])
    for extension in workflow["extra"].get("linkExtensions", []):
        assert extension["id"] in ways[extension["parentId"]]["linkIds"]
