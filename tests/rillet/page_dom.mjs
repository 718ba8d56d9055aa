// SPDX-License-Identifier: Apache-2.0
// Runs a page's own script over a small document, does what argv says, and prints what is seen.
// node page_dom.mjs PAGE.html '[["click", 0], ["search", "conv"], ["key", "Enter"]]'
import { readFileSync } from "node:fs";
import vm from "node:vm";

class Node {
  constructor(tag) {
    Object.assign(this, { tag, children: [], attributes: {}, listeners: {}, dataset: {}, style: {}, hidden: false, value: "" });
    const classes = () => new Set((this.attributes.class || "").split(" ").filter(Boolean));
    const keep = (set) => { this.attributes.class = [...set].join(" "); };
    this.classList = {
      add: (name) => keep(classes().add(name)),
      remove: (name) => { const set = classes(); set.delete(name); keep(set); },
      toggle: (name, on) => (on ? this.classList.add(name) : this.classList.remove(name)),
      contains: (name) => classes().has(name),
    };
  }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = String(value);
  }
  addEventListener(name, listener) { (this.listeners[name] ||= []).push(listener); }
  append(...items) { this.children.push(...items); }
  prepend(...items) { this.children.unshift(...items); }
  replaceChildren(...items) { this.children = items; }
  get textContent() { return this.children.map((c) => (typeof c === "string" ? c : c.textContent)).join(""); }
  set textContent(text) { this.children = [String(text)]; }
  get firstChild() { return this.children[0]; }
  all() { return this.children.flatMap((c) => (typeof c === "string" ? [] : [c, ...c.all()])); }
  querySelectorAll(selector) {
    const data = selector.match(/^\[data-(\w+)(?:="(.*)")?\]$/);
    return this.all().filter((node) => (data
      ? data[1] in node.dataset && (data[2] === undefined || node.dataset[data[1]] === data[2])
      : node.classList.contains(selector.slice(1))));
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0]; }
  getBoundingClientRect() { return { left: 0, top: 0, width: 1000, height: 700 }; }
  focus() {}
  closest() { return null; }
  matches(selector) { return selector.split(", ").includes(this.tag); }
  emit(name, event = {}) {
    for (const listener of this.listeners[name] || []) {
      listener({ target: this, currentTarget: this, preventDefault() {}, ...event });
    }
  }
}

const page = readFileSync(process.argv[2], "utf8");
const ids = {};
for (const [, tag, id, rest] of page.matchAll(/<(\w+)[^>]* id="(\w+)"([^>]*)>/g)) {
  ids[id] = Object.assign(new Node(tag), { hidden: / hidden\b/.test(rest) });
}
const [json, script] = [...page.matchAll(/<script[^>]*>([^]*?)<\/script>/g)].map((match) => match[1]);
ids.data.textContent = json;
const root = new Node("html");
const keys = new Node("document");
const document = {
  documentElement: root,
  getElementById: (id) => ids[id],
  createElement: (tag) => new Node(tag),
  createElementNS: (_, tag) => new Node(tag),
  createTextNode: (text) => text,
  addEventListener: (name, listener) => keys.addEventListener(name, listener),
  querySelectorAll: () => [],
};
vm.runInNewContext(script, { document, window: new Node("window"), matchMedia: () => ({ matches: false }) });

const boxes = () => ids.canvas.querySelectorAll(".box");
for (const [action, value] of JSON.parse(process.argv[3] || "[]")) {
  if (action === "click") boxes()[value].emit("click");
  if (action === "tab") ids.tabs.children[value].emit("click");
  if (action === "measure") ids.measure.emit("change", { target: { value } });
  if (action === "search") ids.search.emit("input", { target: { value } });
  if (action === "enter") ids.search.emit("keydown", { key: "Enter", target: ids.search });
  if (action === "key") keys.emit("keydown", { key: value, target: root });
}
const tags = [root, ...Object.values(ids)].flatMap((node) => node.all()).map((node) => node.tag);
console.log(JSON.stringify({
  boxes: boxes().map((box) => box.all().filter((n) => n.tag === "text").map((n) => n.textContent)),
  heat: ids.canvas.querySelectorAll(".heat").map((rect) => Number(rect.attributes["fill-opacity"])),
  edges: ids.canvas.querySelectorAll(".edge").length,
  chosen: boxes().flatMap((box, i) => (box.classList.contains("chosen") ? [i] : [])),
  hits: boxes().flatMap((box, i) => (box.classList.contains("hit") ? [i] : [])),
  tabs: ids.tabs.children.map((tab) => tab.textContent),
  title: ids.title.textContent,
  details: ids.details.hidden ? null : ids.details.textContent,
  summary: ids.summary.textContent,
  found: ids.found.children.map((item) => item.textContent),
  legend: ids.legend.textContent,
  tags: [...new Set(tags)].sort(),
}));
