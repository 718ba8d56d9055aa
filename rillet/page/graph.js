// SPDX-License-Identifier: Apache-2.0
// The drawing: boxes, edges, moving and zooming. Places come from the page's data.

const canvas = byId("canvas");
const scene = svg("g", {});
const view = { x: 0, y: 0, k: 1 };
let shown = -1; // position of the graph that is drawn
let boxes = []; // its boxes' elements
let measure = measures[0];
let maySelect = () => {}; // told of boxes and edges that are clicked

canvas.append(
  svg("defs", {}, svg("marker",
    { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto",
      markerUnits: "userSpaceOnUse" },
    svg("path", { d: "M0 0L8 4L0 8z" }))),
  scene);

/** Text at (x, y) of a box, cut to what fits there. */
const line = (text, x, y, kind, room) => svg("text", { x, y, class: kind }, cut(text, room));

function nodeLines(graph, node, index) {
  const out = node.outputs.length ? graph.tensors[node.outputs[0]] : null;
  const many = node.outputs.length > 1 ? ` +${node.outputs.length - 1}` : "";
  const words = (keys, names) => keys.flatMap((key, i) => (cost(node, key) > 0 ? [showCost(key, node[key]) + names[i]] : []));
  const work = words(["macs", "microseconds"], ["", ""]);
  const memory = words(["constants", "packed", "scratch"], [" const", " packed", " scratch"]);
  return [
    line(node.op, 10, 19, "op", 25),
    svg("text", { x: 230, y: 19, class: "faint right" }, `#${index}`),
    line(out ? `${shapeOf(out)} ${out.dtype}${many}` : "no output", 10, 37, "", 34),
    line((out && quantization(out)) || (node.calls.length && node.options.name) || "", 10, 54, "faint", 36),
    line(work.join(" · "), 10, 71, "", 27),
    svg("text", { x: 230, y: 71, class: "right share" }),
    line(memory.join(" · "), 10, 88, "faint small", 50),
  ];
}

const showCost = (key, amount) => MEASURES.find((m) => m.key === key).show(amount);

function pillLines(graph, box) {
  const tensor = graph.tensors[box.tensor];
  return [
    line(`${box.kind} ${shortName(tensor.name, 22)}`, 10, 19, "op", 29),
    line(`${shapeOf(tensor)} ${tensor.dtype} · ${bytes(tensor.bytes)}`, 10, 36, "faint", 36),
  ];
}

function drawBox(graph, box, position) {
  const isNode = box.kind === "node";
  const node = isNode ? graph.nodes[box.node] : null;
  const size = { width: box.w, height: box.h, rx: isNode ? 7 : 20 };
  const what = isNode ? { node: box.node } : { tensor: box.tensor };
  return svg("g",
    { class: isNode ? "box" : "box pill", transform: `translate(${box.x} ${box.y})`,
      onclick: () => maySelect(shown, what), "data-box": position },
    svg("rect", { class: "base", ...size }),
    isNode ? svg("rect", { class: "heat", ...size, "fill-opacity": 0 }) : null,
    isNode ? nodeLines(graph, node, box.node) : pillLines(graph, box));
}

/** Points in pairs: straight within a pair, a swing from one pair to the next. */
function pathOf(points) {
  let path = `M${points[0]} ${points[1]}`;
  for (let i = 2; i < points.length; i += 2) {
    const [x0, y0, x, y] = points.slice(i - 2, i + 2);
    const middle = (y0 + y) / 2;
    path += x === x0 ? `V${y}` : `C${x0} ${middle} ${x} ${middle} ${x} ${y}`;
  }
  return path;
}

/** `lane`: how many other tensors of the same box have been labelled; -1 for no label. */
function drawEdge(graph, edge, lane) {
  const tensor = graph.tensors[edge.tensor];
  const d = pathOf(edge.points);
  const width = Math.min(1 + Math.max(Math.log2((tensor.bytes + 1) / 4096), 0) * 0.3, 4);
  return svg("g", { class: "edge", "data-tensor": edge.tensor, onclick: () => maySelect(shown, { tensor: edge.tensor }) },
    svg("title", {}, `${tensor.name}\n${shapeOf(tensor)} ${tensor.dtype}, ${exact(tensor.bytes)} bytes`),
    svg("path", { class: "shown", d, "stroke-width": width.toFixed(1), "marker-end": "url(#tip)" }),
    svg("path", { class: "hand", d }),
    lane >= 0 ? svg("text", { x: edge.points[0] + 6, y: edge.points[1] + 12 + 11 * (lane % 3) },
      `${shortName(tensor.name, 20)} · ${shapeOf(tensor)} · ${bytes(tensor.bytes)}`) : null);
}

/** Edges that leave or reach a box in one place, a little apart and in the order they come from. */
function spread(graph) {
  for (const [end, at] of [["to", -2], ["from", 0]]) {
    const groups = new Map();
    for (const edge of graph.edges) {
      if (!groups.has(edge[end])) groups.set(edge[end], []);
      groups.get(edge[end]).push(edge);
    }
    for (const [box, edges] of groups) {
      const place = (edge) => edge.points.at(at < 0 ? -4 : 2);
      const lanes = [...new Set(edges.map((edge) => (at < 0 ? edge : edge.tensor)))];
      lanes.sort((a, b) => place(at < 0 ? a : edges.find((e) => e.tensor === a))
        - place(at < 0 ? b : edges.find((e) => e.tensor === b)));
      const step = Math.min(26, (graph.boxes[box].w - 30) / lanes.length);
      for (const edge of edges) {
        const lane = lanes.indexOf(at < 0 ? edge : edge.tensor);
        const index = at < 0 ? edge.points.length - 2 : 0;
        edge.points[index] += (lane - (lanes.length - 1) / 2) * step;
      }
    }
  }
  graph.isSpread = true;
}

function openGraph(position) {
  if (position === shown) return;
  shown = position;
  const graph = data.graphs[position];
  if (!graph.isSpread) spread(graph);
  const labelled = graph.boxes.map(() => new Set()); // tensors that each box has sent out
  const edges = graph.edges.map((edge) => {
    const sent = labelled[edge.from];
    const lane = sent.has(edge.tensor) ? -1 : sent.size;
    sent.add(edge.tensor);
    return drawEdge(graph, edge, lane);
  });
  boxes = graph.boxes.map((box, i) => drawBox(graph, box, i));
  scene.replaceChildren(...edges, ...boxes);
  for (const tab of byId("tabs").children) {
    tab.setAttribute("aria-current", String(Number(tab.dataset.graph) === position));
  }
  colour();
  zoomTo("top");
}

function colour() {
  const graph = data.graphs[shown];
  const sum = measure ? total(graph.nodes, measure.key) : 0;
  const most = Math.max(0, ...graph.nodes.map((node) => (sum ? cost(node, measure.key) / sum : 0)));
  graph.boxes.forEach((box, i) => {
    if (box.kind !== "node") return;
    const share = sum ? cost(graph.nodes[box.node], measure.key) / sum : 0;
    boxes[i].querySelector(".heat").setAttribute("fill-opacity", most ? (0.75 * Math.sqrt(share / most)).toFixed(3) : 0);
    boxes[i].querySelector(".share").textContent = share >= 0.0005 ? percent(share) : "";
  });
  byId("legend").replaceChildren(...(sum
    ? ["share of ", measure.title, ": 0", el("i"), percent(most), ` of ${measure.show(sum)}`] : ["no costs to colour by"]));
}

function moved() {
  scene.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
}

function zoomAt(x, y, factor) {
  const k = Math.min(Math.max(view.k * factor, 0.02), 4);
  view.x = x - ((x - view.x) * k) / view.k;
  view.y = y - ((y - view.y) * k) / view.k;
  view.k = k;
  moved();
}

function zoomTo(what) {
  const graph = data.graphs[shown];
  const { width, height } = canvas.getBoundingClientRect();
  const across = (width - 40) / Math.max(graph.width, 1);
  const whole = Math.min(across, (height - 40) / Math.max(graph.height, 1));
  if (what === "in" || what === "out") {
    zoomAt(width / 2, height / 2, what === "in" ? 1.4 : 1 / 1.4);
    return;
  }
  const k = what === "fit" ? whole : Math.max(across, 0.6);
  const entry = graph.boxes.length ? Math.min(...graph.boxes.map((box) => box.y)) : 0;
  const first = graph.boxes.find((box) => box.y === entry);
  const middle = what === "fit" || graph.width * k < width || !first ? graph.width / 2 : first.x + first.w / 2;
  Object.assign(view, { k: Math.min(k, 1), x: width / 2 - middle * Math.min(k, 1), y: 20 });
  moved();
}

/** Mark a box or a tensor's edges, and bring the box into view if it is not. */
function mark(what) {
  const graph = data.graphs[shown];
  for (const element of scene.querySelectorAll(".chosen")) element.classList.remove("chosen");
  if (!what) return;
  const at = graph.boxes.findIndex((box) =>
    (what.node !== undefined ? box.node === what.node : box.tensor === what.tensor));
  if (what.tensor !== undefined) {
    for (const edge of scene.querySelectorAll(`[data-tensor="${Number(what.tensor)}"]`)) edge.classList.add("chosen");
  }
  const edge = at < 0 ? graph.edges.find((e) => e.tensor === what.tensor) : null;
  const box = at < 0 ? edge && graph.boxes[edge.from] : graph.boxes[at];
  if (at >= 0) boxes[at].classList.add("chosen");
  if (!box) return;
  const { width, height } = canvas.getBoundingClientRect();
  const x = view.x + view.k * (box.x + box.w / 2);
  const y = view.y + view.k * (box.y + box.h / 2);
  const isSeen = x > 60 && x < width - 60 && y > 40 && y < height - 40 && view.k > 0.3;
  if (isSeen) return;
  view.k = Math.max(view.k, 0.7);
  view.x = width / 2 - view.k * (box.x + box.w / 2);
  view.y = height / 2 - view.k * (box.y + box.h / 2);
  moved();
}
