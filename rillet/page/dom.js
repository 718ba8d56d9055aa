// SPDX-License-Identifier: Apache-2.0
// Elements and words. Text from the file only ever becomes a text node or an attribute's value.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === "") continue;
    element.append(typeof child === "object" ? child : document.createTextNode(String(child)));
  }
  return element;
}

const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);

const svg = (tag, attributes, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** 1234567 -> "1.23 M" */
function count(number) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (number >= size) return `${(number / size).toPrecision(3)} ${unit}`;
  }
  return String(number);
}

const bytes = (number) => `${count(number)}${number < 1000 ? " " : ""}B`;
const exact = (number) => number.toLocaleString("en");
const micros = (number) => (number >= 1000 ? `${(number / 1000).toPrecision(3)} ms` : `${number.toPrecision(3)} µs`);
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}%`;
const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
const shapeOf = (tensor) => tensor.shape.map((n) => (n < 0 ? "?" : n)).join("×") || "scalar";

/** The end of a name says most: "model/block_1/conv/Relu6;model/..." -> "…/conv/Relu6" */
function shortName(name, length) {
  const first = name.split(";")[0];
  return first.length > length ? `…${first.slice(first.length - length + 1)}` : first;
}

const number = (value) => (typeof value === "number" ? Number(value.toPrecision(6)) : value);

function quantization(tensor) {
  if (!tensor.scales) return "";
  if (tensor.scales > 1) return `${tensor.scales} scales, axis ${tensor.axis}`;
  return `scale ${number(tensor.scale)}, zero ${tensor.zero_point}`;
}

// What a node can cost: key, words for the select, how a number of it is shown.
const MEASURES = [
  ["microseconds", "measured time", micros],
  ["macs", "multiply-accumulates", (n) => `${count(n)} MAC`],
  ["constants", "bytes of constants", bytes],
  ["packed", "packed bytes", bytes],
  ["scratch", "scratch bytes", bytes],
].map(([key, title, show]) => ({ key, title, show }));

const cost = (node, key) => node[key] || 0;
const total = (nodes, key) => nodes.reduce((sum, node) => sum + cost(node, key), 0);
const measures = MEASURES.filter(({ key }) => data.graphs.some((graph) => total(graph.nodes, key) > 0));
