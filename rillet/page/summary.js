// SPDX-License-Identifier: Apache-2.0
// The panel at the left: the file, what goes in and out, the ops, memory over time.

function border(kind) {
  return data[kind].map((tensor) => {
    const image = tensor.image;
    const labels = tensor.labels;
    return el("div", { class: "tensor" },
      el("p", { class: "name" }, tensor.name),
      el("p", {}, `${shapeOf(tensor)} ${tensor.dtype}`),
      tensor.scales ? el("p", { class: "faint" }, quantization(tensor)) : null,
      image ? el("p", { class: "faint" }, imageWords(image)) : null,
      labels ? el("p", { class: "faint" }, labelWords(labels)) : null);
  });
}

function labelWords(labels) {
  const more = labels.count > labels.first.length ? "; ..." : "";
  return `${exact(labels.count)} labels: ${labels.first.join("; ")}${more}`;
}

function imageWords(image) {
  const list = (numbers) => (numbers.length === 1 ? plain(numbers[0]) : plain(numbers));
  const form = image.mean.length || image.std.length
    ? `(pixel - ${list(image.mean)}) / ${list(image.std)}` : "";
  return [image.color && `${image.color} image`, form].filter(Boolean).join(", ");
}

function blocks() {
  const needs = data.runtime;
  if (!needs.runs) return [el("p", {}, `Does not run here: ${needs.why}`)];
  const table = [
    ["file, used in place", needs.model], ["prepared: packed weights", needs.prepared],
    ["arena: activations and scratch", needs.arena], ["alive at once in it, at most", needs.peak_live],
    ["scratch in it, at most", needs.scratch], ["structure and state", needs.structure + needs.state],
  ].map(([name, size]) => el("tr", {}, el("td", {}, name), el("td", { class: "number" }, exact(size))));
  return [
    el("table", {}, table),
    el("p", { class: "faint" },
      `Bytes, on ${needs.isa} with ${needs.threads} thread(s); ${count(needs.macs)} multiply-accumulates.`
      + (data.runs ? ` Times: the mean of ${data.runs} runs on random inputs.` : "")
      + (needs.extent === "static" ? "" : " Some sizes only show when it runs.")),
  ];
}

/** Per op of the graph that is drawn: nodes and the share of the chosen cost. */
function opsTable() {
  const ops = new Map();
  data.graphs[shown].nodes.forEach((node, index) => {
    const row = ops.get(node.op) || { op: node.op, nodes: 0, spent: 0, costliest: index, most: -1 };
    const spent = measure ? cost(node, measure.key) : 0;
    if (spent > row.most) Object.assign(row, { most: spent, costliest: index });
    row.nodes += 1;
    row.spent += spent;
    ops.set(node.op, row);
  });
  const list = [...ops.values()].sort((a, b) => b.spent - a.spent || b.nodes - a.nodes || (a.op < b.op ? -1 : 1));
  const sum = list.reduce((all, row) => all + row.spent, 0);
  const lines = list.flatMap((row) => {
    const share = sum ? row.spent / sum : 0;
    const bar = el("div", { class: "bar" });
    bar.style.width = `${100 * share}%`;
    return [
      el("tr", { class: "go", title: "Show the costliest node", onclick: () => select(shown, { node: row.costliest }) },
        el("td", { class: "name" }, row.op), el("td", { class: "number" }, row.nodes),
        el("td", { class: "number" }, sum ? measure.show(row.spent) : ""),
        el("td", { class: "number" }, sum ? percent(share) : "")),
      sum ? el("tr", { class: "bar-row" }, el("td", { colspan: 4 }, share ? bar : null)) : null,
    ];
  });
  return el("table", { id: "ops" },
    el("tr", {}, el("th", {}, "op"), el("th", { class: "number" }, "nodes"), el("th", { class: "number" }, measure ? "cost" : ""),
      el("th", { class: "number" }, measure ? "share" : "")), lines);
}

/** Live bytes by node, tensors with scratch on top; a click goes to the node. */
function memoryChart() {
  const memory = data.memory;
  const [width, height, top] = [312, 110, 14];
  const steps = memory.tensors.length;
  const most = Math.max(memory.arena, ...memory.tensors.map((n, i) => n + memory.scratch[i]), 1);
  const y = (amount) => height - (amount / most) * (height - top);
  const x = (step) => (step / steps) * width;
  const area = (of, over) => {
    const outline = (part) => Array.from({ length: steps }, (_, i) => [[x(i), y(part(i))], [x(i + 1), y(part(i))]]).flat();
    const points = [...outline(of), ...outline(over).reverse()];
    return `M${points.map(([a, b]) => `${a.toFixed(2)} ${b.toFixed(2)}`).join("L")}Z`;
  };
  const tensors = (i) => memory.tensors[i];
  const both = (i) => memory.tensors[i] + memory.scratch[i];
  const words = el("p", { class: "faint" });
  const tell = (step) => {
    words.textContent = `#${step} ${data.graphs[0].nodes[step].op}: ${exact(tensors(step))} bytes of tensors`
      + (memory.scratch[step] ? `, ${exact(memory.scratch[step])} of scratch` : "");
  };
  const rest = () => {
    tell(memory.peak.node);
    words.prepend("Peak at ");
  };
  const stepAt = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    return Math.min(Math.max(Math.floor(((event.clientX - box.left) / box.width) * steps), 0), steps - 1);
  };
  const peakAt = x(memory.peak.node + 0.5);
  rest();
  return [
    svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none",
      onpointermove: (event) => tell(stepAt(event)), onpointerleave: rest,
      onclick: (event) => select(0, { node: stepAt(event) }) },
      svg("path", { class: "live", d: area(tensors, () => 0) }),
      svg("path", { class: "scratch", d: area(both, tensors) }),
      svg("line", { class: "rule", x1: 0, x2: width, y1: y(memory.arena), y2: y(memory.arena) }),
      svg("line", { class: "here", x1: peakAt, x2: peakAt, y1: y(both(memory.peak.node)), y2: height })),
    words,
    el("p", { class: "faint" }, el("span", { class: "swatch live" }), "tensors  ", el("span", { class: "swatch scratch" }),
      "scratch; dashed: the arena"),
  ];
}

function showSummary() {
  const about = data.about || {};
  const signatures = Object.entries(data.signatures).map(([key, names]) =>
    el("p", { class: "name" }, `${key}(${names.inputs.join(", ")}) → ${names.outputs.join(", ")}`));
  byId("summary").replaceChildren(...[
    rows(["name", "description", "version", "author", "license"].map((key) => [key, about[key]])),
    section("Inputs", border("inputs")), section("Outputs", border("outputs")),
    signatures.length ? section("Signatures", signatures) : null,
    section("Memory", blocks()),
    data.memory ? section("Alive at each node", memoryChart()) : null,
    section(data.graphs.length > 1 ? `Ops of ${titleOf(shown)}` : "Ops", opsTable()),
    data.metadata.length ? section("Metadata", el("p", { class: "name" }, data.metadata.join(", "))) : null,
  ].flat(3).filter(Boolean));
}
