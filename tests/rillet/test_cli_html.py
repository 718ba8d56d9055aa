# SPDX-License-Identifier: Apache-2.0
"""``rillet inspect --html``: the page holds what is true, looks after itself, and believes no
name."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import control_models
import numpy as np
import pytest
from cli_models import image_model, written
from zoo import zoo_files

import converter
import runtime
from converter.ir import Graph, Model, Quantization, Value
from converter.metadata import ImageInput
from rillet import errors
from rillet.commands.inspect import _reads_alike
from rillet.page.describe import graphs_of, memory_of

pytest_plugins = ("cli_fixtures",)

HERE = Path(__file__).parent
TIMES = "\N{MULTIPLICATION SIGN}"
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u2028\\"


class Page(HTMLParser):
    """A page's tags, with the text of its scripts and styles."""

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.inside = ""
        self.attributes: list[tuple[str, str, str | None]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.content = Path(path).read_text(encoding="utf-8")
        self.feed(self.content)
        self.data: dict[str, Any] = json.loads(self.scripts[0])
        found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', self.content)
        self.policy = found[1] if found else ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = tag
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag in ("script", "style"):
            (self.scripts if tag == "script" else self.styles).append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style"):
            texts = self.scripts if self.inside == "script" else self.styles
            texts[-1] += data


@pytest.fixture
def drawn(rillet, tmp_path: Path):
    """drawn(path or model, flags) -> Page, written by the command."""

    def draw(model: str | Model | bytes, *flags: object) -> Page:
        if isinstance(model, Model):
            model = written(model, tmp_path / "drawn.tflite")
        if isinstance(model, bytes):
            (tmp_path / "drawn.tflite").write_bytes(model)
            model = str(tmp_path / "drawn.tflite")
        outcome = rillet("inspect", model, "--html", tmp_path / "m.html", *flags)
        assert outcome.code == errors.OK, outcome.err
        assert f"drawn in {tmp_path / 'm.html'}" in outcome.out
        return Page(tmp_path / "m.html")

    return draw


def browse(page: Page, tmp_path: Path, *actions: tuple[str, object]) -> dict[str, Any]:
    """What is seen after clicks and keys."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    (tmp_path / "page.html").write_text(page.content, encoding="utf-8")
    command = [node, str(HERE / "page_dom.mjs"), str(tmp_path / "page.html"), json.dumps(actions)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def diamond(names: tuple[str, ...] = ("x", "left", "right", "y")) -> Model:
    """x -> two activations -> their sum, which is an output with one of them."""
    graph = Graph("main")
    x = graph.add_input(names[0], "FLOAT32", [2, 4])
    left, right, y = (Value(name, "FLOAT32", [2, 4]) for name in names[1:])
    graph.add_node("RELU", [x], [left])
    graph.add_node("TANH", [x], [right])
    graph.add_node("ADD", [left, right], [y])
    graph.outputs = [y, left]
    return Model([graph])


def test_the_page_needs_nothing_and_runs_its_own_script_alone(drawn, image: str) -> None:
    page = drawn(image)
    assert page.tags.count("script") == 2 and page.tags.count("style") == 1
    assert not [a for a in page.attributes if a[1] in ("src", "href", "style") or a[1][:2] == "on"]
    outside = page.content.replace("http://www.w3.org/2000/svg", "")
    assert "://" not in outside and "@import" not in outside and "url(" not in page.styles[0]
    for kind, text in (("script", page.scripts[1]), ("style", page.styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in page.policy
    assert page.policy.startswith("default-src 'none'")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval", page.content)


def test_nodes_have_the_runtimes_costs(drawn, image: str) -> None:
    page = drawn(image)
    (node,) = page.data["graphs"][0]["nodes"]
    interpreter = runtime.Interpreter(image)
    interpreter.memory()
    (row,) = interpreter.nodes()
    assert node["constants"] == 4 * (5 * 192 + 5) and "microseconds" not in node
    assert {key: node[key] for key in ("macs", "packed", "scratch", "loop")} == {
        key: row[key] for key in ("macs", "packed", "scratch", "loop")
    }
    assert node["options"]["stride_w"] == 8 and node["options"]["padding"] == "VALID"
    weights = page.data["graphs"][0]["tensors"][node["inputs"][1]]
    assert weights["known"] and weights["bytes"] == 4 * 5 * 192
    data = image_model().main.nodes[0].inputs[1].data
    assert weights["range"] == pytest.approx([data.min(), data.max()])


def test_profile_measures_every_node(drawn, rillet, image: str) -> None:
    page = drawn(image, "--profile")
    assert page.data["runs"] > 0 and page.data["graphs"][0]["nodes"][0]["microseconds"] > 0
    (row,) = rillet("inspect", image, "--profile", "--json").json["runtime"]["kernels"]
    assert row["microseconds"] > 0
    assert re.search(
        r"us +share\n.*\n.*CONV_2D.*100\.0%", rillet("inspect", image, "--profile").out
    )


def test_edges_lead_from_producers_to_readers(drawn) -> None:
    graph = drawn(diamond()).data["graphs"][0]
    names = [tensor["name"] for tensor in graph["tensors"]]

    def box(position: int) -> str:
        found = graph["boxes"][position]
        if found["kind"] == "node":
            return graph["nodes"][found["node"]]["op"]
        return f"{found['kind']} {names[found['tensor']]}"

    edges = {(box(e["from"]), names[e["tensor"]], box(e["to"])) for e in graph["edges"]}
    assert edges == {
        ("input x", "x", "RELU"),
        ("input x", "x", "TANH"),
        ("RELU", "left", "ADD"),
        ("TANH", "right", "ADD"),
        ("ADD", "y", "output y"),
        ("RELU", "left", "output left"),
    }


def test_graphs_that_nodes_run_are_drawn_too(drawn, tmp_path: Path) -> None:
    page = drawn(control_models.loop(10, (2000,)), "--profile")
    main, condition, body = page.data["graphs"]
    (loop,) = (node for node in main["nodes"] if node["op"] == "WHILE")
    assert loop["calls"] == [{"graph": 1, "role": "cond"}, {"graph": 2, "role": "body"}]
    assert all(node["microseconds"] > 0 for node in body["nodes"])
    assert condition["nodes"][0]["op"] == "LESS"
    seen = browse(page, tmp_path, ("tab", 2))
    assert seen["tabs"][0] == "main" and re.match(r"body \(body of #\d+ WHILE\)", seen["tabs"][2])
    assert len([lines for lines in seen["boxes"] if lines[0] == "ADD"]) == 2
    assert "Ops of body" in seen["summary"] and "WHILE" not in seen["summary"].split("share")[1]


def test_the_script_draws_and_answers(drawn, tmp_path: Path) -> None:
    page = drawn(diamond())
    seen = browse(page, tmp_path)
    assert seen["title"] == "drawn.tflite" and seen["details"] is None
    assert [lines[0] for lines in seen["boxes"]] == [
        "input x",
        "RELU",
        "TANH",
        "ADD",
        "output y",
        "output left",
    ]
    assert seen["edges"] == 6 and "arena" in seen["summary"]
    clicked = browse(page, tmp_path, ("click", 3))
    assert clicked["chosen"] == [3] and clicked["details"].startswith(f"{TIMES}#2 ADD")
    for part in ("fused_activation_function", "left", "right", f"2{TIMES}4 FLOAT32", "#0 RELU"):
        assert part in clicked["details"]
    closed = browse(page, tmp_path, ("click", 3), ("key", "Escape"))
    assert closed["details"] is None and closed["chosen"] == []
    found = browse(page, tmp_path, ("search", "righ"), ("enter", None))
    assert found["found"] == ["right"] and found["hits"] == [2] and found["chosen"] == [2]
    nothing = browse(page, tmp_path, ("search", "zebra"), ("enter", None))
    assert nothing["found"] == ["nothing of that name"] and nothing["details"] is None


def test_boxes_are_coloured_by_share(drawn, tmp_path: Path) -> None:
    graph = Graph("main")
    x = graph.add_input("x", "FLOAT32", [1, 8])
    for units in (32, 8):
        weights = np.ones((units, x.shape[1]), np.float32)
        y = Value(f"y{units}", "FLOAT32", [1, units])
        graph.add_node("FULLY_CONNECTED", [x, Value.constant(f"w{units}", weights), None], [y])
        x = y
    z = Value("z", "FLOAT32", [1, 8])
    graph.add_node("RELU", [x], [z])
    graph.outputs = [z]
    page = drawn(Model([graph]))
    seen = browse(page, tmp_path, ("measure", "macs"))
    assert seen["heat"] == [0.75, 0.75, 0] and "50% of 512 MAC" in seen["legend"]
    assert [lines[-2] for lines in seen["boxes"][1:4]] == ["50%", "50%", ""]


def test_names_are_text_wherever_they_stand(drawn, tmp_path: Path) -> None:
    model = diamond((EVIL, EVIL + "l", EVIL + "r", EVIL + "y"))
    model.graphs[0].name = model.description = EVIL
    model.metadata[EVIL] = b"1"
    converter.describe(
        model, labels=[EVIL.replace("\u2028", "")] * 4, name=EVIL, description=EVIL, author=EVIL
    )
    page = drawn(written(model, tmp_path / "<script>'&.tflite"))
    assert page.tags.count("script") == 2 and "img" not in page.tags
    assert page.content.count("<script") == 2 and page.scripts[0].isascii()
    assert page.data["graphs"][0]["tensors"][0]["name"] == EVIL
    assert page.data["file"]["name"] == "<script>'&.tflite"
    assert "<title>&lt;script&gt;&#x27;&amp;.tflite</title>" in page.content
    seen = browse(page, tmp_path, ("search", "script"), ("click", 3))
    assert not {"img", "script"} & set(seen["tags"])
    assert EVIL in seen["details"] and EVIL in seen["summary"] and EVIL in seen["found"][0]
    assert seen["title"] == "<script>'&.tflite"


def test_metadata_is_shown(drawn, rillet, tmp_path: Path) -> None:
    model = image_model()
    image = ImageInput([1.0, 2.0, 3.0], [4.0])
    labels = ["ant", "bee", "cat", "dog", "eel"]
    converter.describe(model, images={"": image}, labels=labels, name="Insects", license="MIT")
    path = written(model, tmp_path / "m.tflite")
    page, text = drawn(path), rillet("inspect", path).out
    seen = browse(page, tmp_path)["summary"]
    assert "RGB image, (pixel - [1, 2, 3]) / 4" in seen and "5 labels: ant; bee; cat; ..." in seen
    assert "RGB photo, (pixel - [1, 2, 3]) / 4" in text and "5 labels: ant; bee; cat; ..." in text
    assert "Insects" in seen and re.search(r"name +Insects\n", text) and "MIT" in text


def test_text_cannot_steer_the_terminal(rillet, tmp_path: Path) -> None:
    path = written(diamond(("x\x1b[2J", "a", "b", "c")), tmp_path / "m.tflite")
    assert "\x1b" not in rillet("inspect", path, "--tensors").out


def test_a_model_that_does_not_run_is_drawn_and_not_measured(drawn, rillet, tmp_path) -> None:
    graph = Graph("main")
    x, y = graph.add_input("x", "FLOAT32", [3]), Value("y", "FLOAT32", [3])
    graph.add_node("CUSTOM", [x], [y], custom_code="Nobody")
    graph.outputs = [y]
    page = drawn(Model([graph]))
    assert not page.data["runtime"]["runs"] and page.data["memory"] is None
    seen = browse(page, tmp_path, ("click", 1))
    assert "Does not run here" in seen["summary"] and seen["details"].startswith(
        f"{TIMES}#0 Nobody"
    )
    outcome = rillet("inspect", tmp_path / "drawn.tflite", "--profile")
    assert outcome.code == errors.MISTAKE and "which does not run here" in outcome.err


def test_damaged_models_are_drawn_or_refused(rillet, tmp_path: Path) -> None:
    """Bytes changed anywhere: a page, or a sentence and no page, and never an internal error."""
    pick = np.random.default_rng(8)
    seeds = [control_models.growing_loop(), control_models.twice_called(), control_models.counter()]
    path, out, codes = tmp_path / "m.tflite", tmp_path / "m.html", set()
    for content in (seeds[i % 3] for i in range(300)):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[pick.integers(len(damaged), size=2)] = pick.choice([0, 1, 127, 128, 255], 2)
        path.write_bytes(damaged.tobytes())
        out.unlink(missing_ok=True)
        outcome = rillet("inspect", path, "--html", out)
        codes.add(outcome.code)
        assert out.exists() == (outcome.code == errors.OK)
        assert "internal error" not in outcome.err
    assert {errors.OK, errors.MISTAKE} <= codes


def test_a_file_that_reads_in_two_ways_is_no_model_to_measure(image: str) -> None:
    assert _reads_alike(converter.read_tflite(image), runtime.Interpreter(image))
    assert not _reads_alike(diamond(), runtime.Interpreter(image))


def test_scales_without_zero_points(drawn) -> None:
    model = diamond()
    model.main.inputs[0].quant = Quantization(np.float32([0.5]), np.zeros(0, np.int64))
    (tensor,) = drawn(model).data["inputs"]
    assert (tensor["scale"], tensor["zero_point"]) == (0.5, 0)


def test_nothing_is_written_where_it_cannot_be(rillet, image: str, tmp_path: Path) -> None:
    outcome = rillet("inspect", image, "--html", tmp_path / "no" / "m.html")
    assert outcome.code == errors.MISTAKE and "there is no folder" in outcome.err
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    outcome = rillet("inspect", tmp_path / "bad.tflite", "--html", tmp_path / "m.html")
    assert outcome.code != errors.OK and not (tmp_path / "m.html").exists()


def test_numbers_that_json_lacks(drawn) -> None:
    model = diamond()
    odd = Value.constant("odd", np.float32([np.nan, np.inf, 1, 2] * 2).reshape(2, 4))
    model.main.nodes[2].set_input(1, odd)
    (tensor,) = (t for t in drawn(model).data["graphs"][0]["tensors"] if t["name"] == "odd")
    assert tensor["values"][:3] == ["nan", "inf", 1.0] and "range" not in tensor


def test_live_bytes_have_the_peak_that_the_plan_has() -> None:
    """Of real models, one of them with state."""
    for path in zoo_files("models/tflite/*.tflite"):
        model, interpreter = converter.read_tflite(path), runtime.Interpreter(str(path))
        memory = memory_of(model, interpreter, 1)
        assert max(memory["tensors"]) == interpreter.memory()["peak_live"], path
        step = memory["peak"]["node"]
        both = [a + b for a, b in zip(memory["tensors"], memory["scratch"], strict=True)]
        assert both[step] == max(both) <= memory["arena"]


def test_real_models_are_drawn_quickly(drawn) -> None:
    for path in zoo_files("models/tflite/*.tflite"):
        page = drawn(str(path))
        graph, model = page.data["graphs"][0], converter.read_tflite(path)
        assert len(graph["nodes"]) == len(model.main.nodes)
        assert sum(n["constants"] for n in graph["nodes"]) <= page.data["file"]["bytes"]


def test_every_graph_is_described_without_the_runtime() -> None:
    model = converter.read_tflite(control_models.branches())
    described = graphs_of(model, None, False)
    assert [len(graph["nodes"]) for graph in described] == [len(g.nodes) for g in model.graphs]
    assert all("macs" not in node for graph in described for node in graph["nodes"])
