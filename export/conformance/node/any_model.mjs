// Run any ONNX model once: `any_model.mjs PACKAGE MODEL.onnx INPUTS OUTPUTS`; see any_model.py.
import { readFileSync, writeFileSync } from "node:fs";

const [name, model, inputs, outputs] = process.argv.slice(2);
const web = name === "onnxruntime-web";
const ort = web ? await import("onnxruntime-web/wasm") : (await import(name)).default;
if (web) ort.env.wasm.numThreads = 1;

const KINDS = [
  ["<f4", "float32", Float32Array],
  ["<f8", "float64", Float64Array],
  ["<f2", "float16", globalThis.Float16Array ?? Uint16Array],
  ["<i8", "int64", BigInt64Array],
  ["<u8", "uint64", BigUint64Array],
  ["<i4", "int32", Int32Array],
  ["<u4", "uint32", Uint32Array],
  ["<i2", "int16", Int16Array],
  ["<u2", "uint16", Uint16Array],
  ["|i1", "int8", Int8Array],
  ["|u1", "uint8", Uint8Array],
  ["|b1", "bool", Uint8Array],
];

function read(path) {
  const file = readFileSync(path); // .npy: 8 bytes, the header's length in 2, the header, the numbers
  const start = 10 + file.readUInt16LE(8);
  const header = file.toString("latin1", 10, start);
  const kind = KINDS.find(([descr]) => header.includes(`'${descr}'`));
  if (!kind) throw new TypeError(`no tensor of ${header}`);
  const shape = header.match(/'shape': \((.*?)\)/)[1].split(",").filter((size) => size.trim()).map(Number);
  return new ort.Tensor(kind[1], new kind[2](file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length)), shape);
}

function write(path, { type, data, dims }) {
  const [descr] = KINDS.find(([, kind]) => kind === type) ?? [];
  if (!descr) throw new TypeError(`an output of type ${type}`);
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(", ");
  const header = Buffer.from(`{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape})}\n`);
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  const numbers = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  writeFileSync(path, Buffer.concat([Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0]), length, header, numbers]));
}

const names = JSON.parse(readFileSync(`${inputs}/names.json`, "utf8"));
const session = await ort.InferenceSession.create(web ? readFileSync(model) : model);
const feeds = Object.fromEntries(names.inputs.map((input, number) => [input, read(`${inputs}/${number}.npy`)]));
const results = await session.run(feeds);
for (const [number, output] of names.outputs.entries()) write(`${outputs}/${number}.npy`, results[output]);
