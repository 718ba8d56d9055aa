// SPDX-License-Identifier: Apache-2.0
// The panel at the right: all that is known of one node or one tensor.

const details = byId("details");

function rows(pairs) {
  const shownPairs = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return shownPairs.length
    ? el("table", {}, shownPairs.map(([name, value]) => el("tr", {}, el("th", {}, name), el("td", { class: "name" }, value))))
    : null;
}

const section = (title, ...content) => [el("h3", {}, title), ...content];

const link = (text, action) => el("button", { type: "button", class: "link", onclick: action }, text);

function plain(value) {
  if (Array.isArray(value)) return `[${value.map(plain).join(", ")}]`;
  return typeof value === "number" ? String(number(value)) : String(value);
}

/** Which nodes of a graph write and read a tensor. */
function usersOf(graph, tensor) {
  const at = (side) => graph.nodes.flatMap((node, i) => (node[side].includes(tensor) ? [i] : []));
  return { writers: at("outputs"), readers: at("inputs") };
}

const nodeLink = (position, index) =>
  link(`#${index} ${data.graphs[position].nodes[index].op}`, () => select(position, { node: index }));

function spaced(links) {
  return links.flatMap((item, i) => (i ? [", ", item] : [item]));
}

function valueWords(tensor) {
  const size = tensor.shape.reduce((all, n) => all * n, 1);
  return plain(tensor.values) + (tensor.values.length < size ? " ..." : "");
}

function tensorCard(position, index, role) {
  const graph = data.graphs[position];
  if (index < 0) return el("div", { class: "tensor faint" }, `${role}: left out`);
  const tensor = graph.tensors[index];
  const { writers, readers } = usersOf(graph, index);
  const kind = tensor.known ? "constant" : tensor.variable ? "state" : "";
  return el("div", { class: "tensor" },
    el("p", { class: "faint" }, [role, kind].filter(Boolean).join(", ")),
    el("p", {}, link(tensor.name || "(no name)", () => select(position, { tensor: index }))),
    el("p", {}, `${shapeOf(tensor)} ${tensor.dtype} · ${exact(tensor.bytes)} bytes`),
    tensor.scales ? el("p", { class: "faint" }, quantization(tensor)) : null,
    tensor.range ? el("p", { class: "faint" }, `from ${plain(tensor.range[0])} to ${plain(tensor.range[1])}`) : null,
    tensor.values ? el("p", { class: "faint" }, valueWords(tensor)) : null,
    writers.length ? el("p", { class: "faint" }, "from ", spaced(writers.map((i) => nodeLink(position, i)))) : null,
    readers.length ? el("p", { class: "faint" }, "to ", spaced(readers.slice(0, 12).map((i) => nodeLink(position, i))),
      readers.length > 12 ? ` and ${readers.length - 12} more` : "") : null);
}

function nodeDetails(position, index) {
  const graph = data.graphs[position];
  const node = graph.nodes[index];
  const costs = MEASURES.filter(({ key }) => node[key] !== undefined).map(({ key, title, show }) => {
    const sum = total(graph.nodes, key);
    const amount = key === "microseconds" ? show(node[key]) : exact(node[key]);
    return el("tr", {}, el("th", {}, title), el("td", { class: "number" }, amount),
      el("td", { class: "number faint" }, sum ? percent(node[key] / sum) : ""));
  });
  const live = position === 0 && data.memory
    ? `${exact(data.memory.tensors[index])} bytes alive meanwhile` : "";
  return [
    el("h2", {}, `#${index} ${node.op}`),
    el("p", { class: "faint" }, `version ${node.version}${node.loop ? `, loop ${node.loop}` : ""}`),
    node.calls.map((call) => el("p", {}, link(`open ${call.role}: ${titleOf(call.graph)}`, () => select(call.graph, null)))),
    costs.length ? section("Cost", el("table", {}, costs), live ? el("p", { class: "faint" }, live) : null) : null,
    Object.keys(node.options).length
      ? section("Options", rows(Object.entries(node.options).map(([name, value]) => [name, plain(value)]))) : null,
    section("Inputs", node.inputs.map((tensor, i) => tensorCard(position, tensor, `input ${i}`))),
    section("Outputs", node.outputs.map((tensor, i) => tensorCard(position, tensor, `output ${i}`))),
  ];
}

function tensorDetails(position, index) {
  const graph = data.graphs[position];
  const ends = [["inputs", "graph input"], ["outputs", "graph output"]]
    .filter(([side]) => graph[side].includes(index))
    .map(([side, words]) => `${words} ${graph[side].indexOf(index)}`);
  return [el("h2", {}, "Tensor"), tensorCard(position, index, ends.join(", "))];
}

function showDetails(position, what) {
  details.hidden = !what;
  if (!what) return;
  const content = what.node !== undefined ? nodeDetails(position, what.node) : tensorDetails(position, what.tensor);
  details.replaceChildren(
    el("button", { type: "button", class: "close", title: "Close (Esc)", onclick: () => select(shown, null) }, "×"),
    ...content.flat(3).filter(Boolean));
  details.scrollTop = 0;
}
