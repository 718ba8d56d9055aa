// SPDX-License-Identifier: Apache-2.0
// Puts the page together: tabs, search, colours, keys and pointers.

/** What a graph is called: its name, and who runs it. */
function titleOf(position) {
  const name = cut(data.graphs[position].name || `graph ${position}`, 40);
  for (const graph of data.graphs) {
    for (const [index, node] of graph.nodes.entries()) {
      const call = node.calls.find((c) => c.graph === position);
      if (call) return `${name} (${call.role} of #${index} ${node.op})`;
    }
  }
  return name;
}

/** Show a graph, and in it a node ({node}), a tensor ({tensor}) or nothing in particular (null). */
function select(position, what) {
  if (position !== shown) {
    openGraph(position);
    showSummary();
  }
  const before = canvas.getBoundingClientRect().width;
  showDetails(position, what);
  view.x += (canvas.getBoundingClientRect().width - before) / 2; // what was in the middle stays there
  moved();
  mark(what);
}

maySelect = (position, what) => {
  if (!wasDragged) select(position, what);
};

// ---- search ----

let matches = [];
let current = -1;

function findAll(text) {
  const wanted = text.trim().toLowerCase();
  const found = [];
  if (!wanted) return found;
  data.graphs.forEach((graph, position) => {
    graph.nodes.forEach((node, index) => {
      if (`#${index} ${node.op}`.toLowerCase().includes(wanted)) {
        found.push({ position, what: { node: index }, words: `#${index} ${node.op}` });
      }
    });
    graph.tensors.forEach((tensor, index) => {
      if (!tensor.name.toLowerCase().includes(wanted)) return;
      const writer = graph.nodes.findIndex((node) => node.outputs.includes(index));
      found.push({ position, what: writer < 0 ? { tensor: index } : { node: writer }, words: tensor.name });
    });
  });
  return found;
}

function search(text) {
  matches = findAll(text);
  current = -1;
  const list = byId("found");
  list.hidden = !text.trim();
  byId("hits").textContent = "";
  const items = matches.slice(0, 60).map((match, i) =>
    el("li", {}, el("button", { type: "button", onclick: () => goTo(i) }, cut(match.words, 140),
      data.graphs.length > 1 ? el("span", { class: "faint" }, `  ${data.graphs[match.position].name}`) : null)));
  const more = matches.length > 60 ? `and ${matches.length - 60} more` : matches.length ? "" : "nothing of that name";
  list.replaceChildren(...items, ...(more ? [el("li", { class: "faint" }, more)] : []));
  markHits();
}

function markHits() {
  const graph = data.graphs[shown];
  const hit = new Set(matches.filter((m) => m.position === shown).map((m) => JSON.stringify(m.what)));
  graph.boxes.forEach((box, i) => {
    const own = box.kind === "node" ? { node: box.node } : { tensor: box.tensor };
    boxes[i].classList.toggle("hit", hit.has(JSON.stringify(own)));
  });
}

function goTo(index) {
  current = (index + matches.length) % matches.length;
  const { position, what } = matches[current];
  select(position, what);
  markHits();
  byId("hits").textContent = `${current + 1} of ${matches.length}`;
  byId("found").hidden = true;
}

byId("search").addEventListener("input", (event) => search(event.target.value));
byId("search").addEventListener("focus", (event) => { byId("found").hidden = !event.target.value.trim(); });
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && matches.length) goTo(current + (event.shiftKey ? -1 : 1));
});
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".search")) byId("found").hidden = true;
});

// ---- moving ----

let wasDragged = false;
const pointers = new Map();

canvas.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  wasDragged = false;
});
window.addEventListener("pointermove", (event) => {
  const former = pointers.get(event.pointerId);
  if (!former) return;
  const [dx, dy] = [event.clientX - former[0], event.clientY - former[1]];
  if (!wasDragged && Math.hypot(dx, dy) < 4) return;
  wasDragged = true;
  canvas.classList.add("moving");
  const other = [...pointers].find(([id]) => id !== event.pointerId);
  if (other) {
    const apart = (point) => Math.max(Math.hypot(point[0] - other[1][0], point[1] - other[1][1]), 1);
    const box = canvas.getBoundingClientRect();
    zoomAt(other[1][0] - box.left, other[1][1] - box.top, apart([event.clientX, event.clientY]) / apart(former));
  } else {
    view.x += dx;
    view.y += dy;
    moved();
  }
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
});
for (const kind of ["pointerup", "pointercancel"]) {
  window.addEventListener(kind, (event) => {
    pointers.delete(event.pointerId);
    canvas.classList.remove("moving");
  });
}
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  if (event.ctrlKey || event.metaKey) {
    zoomAt(event.clientX - box.left, event.clientY - box.top, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.004)));
  } else {
    const lines = event.deltaMode ? 20 : 1;
    view.x -= lines * (event.shiftKey ? event.deltaY : event.deltaX);
    view.y -= lines * (event.shiftKey ? 0 : event.deltaY);
    moved();
  }
}, { passive: false });

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    byId("found").hidden = true;
    select(shown, null);
    return;
  }
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const zoom = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "top" }[event.key];
  if (zoom) zoomTo(zoom);
  if (event.key === "/") {
    event.preventDefault();
    byId("search").focus();
  }
});
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => zoomTo(button.dataset.zoom));
}
byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
});

// ---- the start ----

byId("title").textContent = data.file.name;
byId("facts").textContent = [
  `${exact(data.file.bytes)} bytes`, `${exact(data.graphs[0].nodes.length)} nodes`,
  data.graphs.length > 1 ? `${data.graphs.length} graphs` : "", data.description,
].filter(Boolean).join(" · ");
byId("measure").append(...measures.map(({ key, title }) => el("option", { value: key }, title)));
byId("measure").addEventListener("change", (event) => {
  measure = measures.find(({ key }) => key === event.target.value);
  colour();
  showSummary();
});
if (data.graphs.length > 1) {
  byId("tabs").append(...data.graphs.map((_, position) =>
    el("button", { type: "button", "data-graph": position, onclick: () => select(position, null) }, titleOf(position))));
}
openGraph(0);
showSummary();
