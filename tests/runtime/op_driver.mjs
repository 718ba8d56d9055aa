// SPDX-License-Identifier: Apache-2.0
// op_driver.c for WebAssembly: the same commands, through the exported C API, under node.
//   node op_driver.mjs rillet.wasm isa | loops ISA MODEL | run ISA THREADS LIST      (THREADS must be 1)
import fs from "node:fs";

const [file, command, isa, ...rest] = process.argv.slice(2);
const module = new WebAssembly.Module(fs.readFileSync(file));
const imports = WebAssembly.Module.imports(module);
if (imports.length) throw new Error(`the module imports ${JSON.stringify(imports)}`);
const api = new WebAssembly.Instance(module).exports;

// A bump allocator over what lies past the module's own memory; `release` forgets everything.
let top = api.__heap_base.value;
const view = () => new DataView(api.memory.buffer);
const memory = () => new Uint8Array(api.memory.buffer);
function block(size) {
  const at = Math.ceil(top / 64) * 64;
  top = at + size;
  const missing = top - api.memory.buffer.byteLength;
  if (missing > 0) api.memory.grow(Math.ceil(missing / 65536));
  memory().fill(0, at, top);
  return at;
}
const release = (mark) => (top = mark);
function put(bytes) {
  const at = block(bytes.length + 1);
  memory().set(bytes, at);
  return at;
}
function text(at) {
  if (!at) return "-";
  const all = memory();
  return Buffer.from(all.subarray(at, all.indexOf(0, at))).toString();
}

// Offsets of wasm32's struct fields, of include/rillet.h.
const OPTIONS = { bytes: 128, threads: 0, isa: 16 };
const ERROR = { bytes: 336, text: 16 };
const SIZES = { bytes: 64, prepared: 24, arena: 32 };
const TENSOR = { bytes: 192, type: 4, size: 80 };
const STRING = { type: 5, bytes: 16, size: 8 }; // an element: address and size, of 8 bytes each
const NODE = { bytes: 64, op: 0, loop: 24 };

class Failed extends Error {}

const err = block(ERROR.bytes);
function check(status) {
  if (status) throw new Failed(`${text(api.rlt_status_name(status))} ${text(err + ERROR.text)}`);
}
const u64 = (at) => Number(view().getBigUint64(at, true));

function open(path) {
  const bytes = fs.readFileSync(path);
  const data = put(bytes);
  const word = block(8);
  check(api.rlt_open_size(data, bytes.length, word, err));
  let need = view().getUint32(word, true);
  const structure = block(need);
  check(api.rlt_open(data, bytes.length, 0, 0, 0, structure, need, word, err));
  const model = view().getUint32(word, true);
  const options = block(OPTIONS.bytes);
  view().setInt32(options + OPTIONS.threads, 1, true);
  if (isa !== "best") {
    const name = put(Buffer.from(isa));
    view().setUint32(options + OPTIONS.isa, name, true);
  }
  need = api.rlt_create_size(model, options);
  const state = block(need);
  check(api.rlt_create(model, options, state, need, word, err));
  const interpreter = view().getUint32(word, true);
  check(api.rlt_prepare(interpreter, err));
  const sizes = block(SIZES.bytes);
  check(api.rlt_get_sizes(interpreter, sizes));
  const prepared = u64(sizes + SIZES.prepared);
  const arena = u64(sizes + SIZES.arena);
  check(api.rlt_bind(interpreter, block(prepared), prepared, 0, block(arena), arena, err));
  return { model, interpreter };
}

function tensor(o, index) {
  const info = block(TENSOR.bytes);
  check(api.rlt_get_tensor_info(o.interpreter, 0, index, info));
  const holdsStrings = view().getInt32(info + TENSOR.type, true) === STRING.type;
  return [api.rlt_tensor_data(o.interpreter, 0, index), u64(info + TENSOR.size), holdsStrings];
}

// Strings are the four bytes of their size, then their own. Returns where in `values` the next input begins.
function fillStrings(data, size, values, at) {
  for (let element = data; element < data + size; element += STRING.bytes) {
    const length = values.readUInt32LE(at);
    const bytes = put(values.subarray(at + 4, at + 4 + length));
    view().setBigUint64(element, BigInt(bytes), true);
    view().setBigUint64(element + STRING.size, BigInt(length), true);
    at += 4 + length;
  }
  return at;
}

function strings(data, size) {
  const parts = [];
  for (let element = data; element < data + size; element += STRING.bytes) {
    const [from, length] = [u64(element), u64(element + STRING.size)];
    const head = Buffer.alloc(4);
    head.writeUInt32LE(length);
    parts.push(head, Buffer.from(memory().slice(from, from + length)));
  }
  return Buffer.concat(parts);
}

function run(model, inputs, outputs) {
  const o = open(model);
  const values = fs.readFileSync(inputs);
  let at = 0;
  for (let i = 0; i < api.rlt_input_count(o.model, 0); i++) {
    const [data, size, holdsStrings] = tensor(o, api.rlt_input_tensor(o.model, 0, i));
    if (holdsStrings) {
      at = fillStrings(data, size, values, at);
      continue;
    }
    if (at + size > values.length) throw new Error(`${inputs} is too short`);
    memory().set(values.subarray(at, at + size), data);
    at += size;
  }
  check(api.rlt_invoke(o.interpreter, err));
  const parts = [];
  for (let i = 0; i < api.rlt_output_count(o.model, 0); i++) {
    const [data, size, holdsStrings] = tensor(o, api.rlt_output_tensor(o.model, 0, i));
    parts.push(holdsStrings ? strings(data, size) : Buffer.from(memory().slice(data, data + size)));
  }
  fs.writeFileSync(outputs, Buffer.concat(parts));
}

function loops(model) {
  const o = open(model);
  const node = block(NODE.bytes);
  for (let i = 0; !api.rlt_get_node_info(o.interpreter, 0, i, node); i++) {
    const [op, loop] = [NODE.op, NODE.loop].map((at) => text(view().getUint32(node + at, true)));
    console.log(op, loop);
  }
}

// What the library refuses is a line of the output; anything else that fails ends the program.
function attempt(work) {
  const mark = top;
  try {
    work();
    return "OK";
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    return error.message;
  } finally {
    release(mark);
  }
}

if (command === "isa") {
  console.log(text(api.rlt_best_isa()));
} else if (command === "loops") {
  const said = attempt(() => loops(rest[0]));
  if (said !== "OK") console.log(said);
} else if (command === "run" && rest[0] === "1") {
  const lines = fs.readFileSync(rest[1], "utf8").split("\n").filter(Boolean);
  for (const line of lines) console.log(attempt(() => run(...line.split(" "))));
} else {
  throw new Error("usage: op_driver.mjs rillet.wasm isa | loops ISA MODEL | run ISA 1 LIST");
}
