// SPDX-License-Identifier: Apache-2.0
// Runs a WASI program under node: node wasi.mjs PROGRAM.wasm ARGUMENTS
import fs from "node:fs";

process.removeAllListeners("warning"); // WASI is called experimental
process.on("warning", () => {});
const { WASI } = await import("node:wasi");
const [file, ...rest] = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [file, ...rest], preopens: { "/": "/" } });
const module = await WebAssembly.compile(fs.readFileSync(file));
process.exitCode = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
