// What an ONNX file holds, read from its bytes (onnx.proto): inputs, nodes, and the weights of fully-connected layers.

/** Element types: name, bytes, and the reader of an aligned little-endian buffer. */
const TYPES = {
  1: ["float32", 4, (buffer) => new Float32Array(buffer)],
  2: ["uint8", 1],
  3: ["int8", 1],
  4: ["uint16", 2],
  5: ["int16", 2],
  6: ["int32", 4],
  7: ["int64", 8],
  9: ["bool", 1],
  10: ["float16", 2, (buffer) => floats(buffer, fromHalf)],
  11: ["float64", 8, (buffer) => new Float64Array(buffer)],
  12: ["uint32", 4],
  13: ["uint64", 8],
  16: ["bfloat16", 2, (buffer) => floats(buffer, fromBrain)],
};
const typeName = (type) => TYPES[type]?.[0] ?? `type ${type}`;
/** Which inputs of an operator may be its weights. */
const WEIGHTS = new Map(Object.entries({ Conv: [1], ConvTranspose: [1], Gemm: [0, 1], MatMul: [0, 1], Gather: [0], LSTM: [1, 2], GRU: [1, 2], RNN: [1, 2] }));
/** Fields of a tensor that may have its elements; 16-bit ones are int32_data where they are not raw_data. */
const RAW = 9, FLOATS = 4, INT32S = 5, DOUBLES = 10;
/** NumPy has at most 64; a hostile file has millions. */
const MOST_AXES = 64;
const FULLY_CONNECTED = new Set(["Gemm", "MatMul"]);
/** Nodes that hand on a matrix with the same elements. */
const SAME_ELEMENTS = new Set(["Identity", "Transpose"]);

/** A half-precision number from its bits (IEEE 754 binary16). */
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const BRAIN = new Float32Array(1), BRAIN_BITS = new Uint32Array(BRAIN.buffer);

/** A bfloat16 number from its bits: the upper half of a single-precision one. */
function fromBrain(bits) {
  BRAIN_BITS[0] = bits << 16;
  return BRAIN[0];
}

/** Numbers of 16 bits each; `Float32Array.from` would make a list of millions of objects first. */
function floats(buffer, convert) {
  const bits = new Uint16Array(buffer), values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = convert(bits[i]);
  return values;
}

function readTensor(message) {
  const tensor = { name: "", dims: [], type: 0, data: {}, external: false };
  for (const { number, value } of message.fields(1, 2, 14)) {
    if (number === 1) addExtent(tensor.dims, value);
    else if (number === 2) tensor.type = value;
    else if (number === 8) tensor.name = value.text;
    else if (number === 14) tensor.external = value === 1;
    else if ([RAW, FLOATS, INT32S, DOUBLES].includes(number)) tensor.data[number] = value;
  }
  return tensor;
}

function addExtent(shape, extent) {
  if (shape.push(extent) > MOST_AXES) throw new Error(`more than ${MOST_AXES} axes`);
}

/** The bytes of a tensor's elements, in a buffer of their own. */
function stored({ type, data }) {
  if (data[RAW]?.content.length) return data[RAW].content.slice().buffer;
  if (data[INT32S] && TYPES[type][1] === 2) return Uint16Array.from(data[INT32S].packed()).buffer;
  return (data[{ 1: FLOATS, 11: DOUBLES }[type]]?.content.slice() ?? new Uint8Array()).buffer;
}

/** The weights of a tensor, row by row; throws where the file does not have them as floating-point numbers. */
function elements(tensor) {
  const { name, dims, type, external } = tensor;
  const [kind, size, convert] = TYPES[type] ?? [];
  if (!convert) throw new Error(`${typeName(type)}, which this page does not read`);
  if (external) throw new Error("in another file");
  if (dims.some((extent) => extent < 0)) throw new Error(`damaged: ${name} has a negative extent`);
  const expected = dims.reduce((product, one) => product * one, 1), buffer = stored(tensor);
  if (buffer.byteLength !== expected * size) {
    throw new Error(`damaged: ${name} has ${buffer.byteLength} bytes of ${kind}, expected ${expected * size}`);
  }
  if (!expected) throw new Error("has no weights");
  return convert(buffer);
}

function readNode(message) {
  const node = { inputs: [], outputs: [], name: "", operator: "", domain: "", constant: null };
  for (const { number, value } of message.fields()) {
    if (number === 1) node.inputs.push(value.text);
    else if (number === 2) node.outputs.push(value.text);
    else if (number === 3) node.name = value.text;
    else if (number === 4) node.operator = value.text;
    else if (number === 7) node.domain = value.text;
    else if (number === 5) {
      for (const attribute of value.fields()) if (attribute.number === 5) node.constant = readTensor(attribute.value);
    }
  }
  return node;
}

/** An input or output: name, element type, and extents, which are numbers or names. */
function readValue(message) {
  const found = { name: "", type: 0, shape: null };
  for (const { number, value } of message.fields()) {
    if (number === 1) found.name = value.text;
    if (number !== 2) continue;
    for (const tensor of value.fields()) {
      if (tensor.number !== 1) continue;
      for (const part of tensor.value.fields(1)) {
        if (part.number === 1) found.type = part.value;
        else if (part.number === 2) found.shape = readShape(part.value);
      }
    }
  }
  return found;
}

function readShape(message) {
  const shape = [];
  for (const { number, value } of message.fields()) if (number === 1) addExtent(shape, readExtent(value));
  return shape;
}

function readExtent(message) {
  for (const { number, value } of message.fields(1)) {
    if (number === 1) return value;
    if (number === 2) return value.text;
  }
  return "?";
}

/** The model in a file: producer, operator sets, inputs, outputs, nodes, and initializers by name. */
function readModel(bytes) {
  const model = { producer: "", opsets: [], inputs: [], outputs: [], nodes: [], initializers: new Map() };
  let graph = null;
  for (const { number, value } of new Message(bytes).fields()) {
    if (number === 2) model.producer = value.text;
    else if (number === 7) graph = value;
    else if (number === 8) model.opsets.push(readOpset(value));
  }
  if (!graph) throw new Error("not an ONNX file: it has no graph");
  for (const { number, value } of graph.fields()) {
    if (number === 1) model.nodes.push(readNode(value));
    else if (number === 11) model.inputs.push(readValue(value));
    else if (number === 12) model.outputs.push(readValue(value));
    else if (number === 5) {
      const tensor = readTensor(value);
      model.initializers.set(tensor.name, tensor);
    }
  }
  for (const node of model.nodes) {
    if (node.operator === "Constant" && node.constant) model.initializers.set(node.outputs[0], node.constant);
    const source = SAME_ELEMENTS.has(node.operator) ? model.initializers.get(node.inputs[0]) : undefined;
    if (source) {
      const dims = node.operator === "Transpose" ? source.dims.toReversed() : source.dims;
      model.initializers.set(node.outputs[0], { ...source, dims });
    }
  }
  model.inputs = model.inputs.filter((input) => !model.initializers.has(input.name));
  return model;
}

function readOpset(message) {
  const opset = { domain: "", version: 0 };
  for (const { number, value } of message.fields(2)) {
    if (number === 1) opset.domain = value.text;
    else if (number === 2) opset.version = value;
  }
  return opset;
}

/**
 * The nodes that have weights. A fully-connected layer, a Gemm or MatMul with one constant matrix, also has the share of
 * weights that are exactly zero and Hoyer's measure (sqrt(N) - l1/l2) / (sqrt(N) - 1) (Hoyer 2004), or the reason
 * why not. These do not depend on whether the matrix is stored transposed.
 */
function layers(model) {
  const found = [], measured = new Map(); // by their data, which many nodes may share
  for (const node of model.nodes) {
    const weights = (WEIGHTS.get(node.operator) ?? []).map((i) => model.initializers.get(node.inputs[i])).filter(Boolean);
    if (!weights.length) continue;
    const layer = { name: weights[0].name || node.name, operator: node.operator, shape: weights[0].dims, zeros: null, hoyer: null, reason: "" };
    layer.isFullyConnected = FULLY_CONNECTED.has(node.operator) && weights.length === 1 && weights[0].dims.length === 2;
    if (layer.isFullyConnected) {
      const { data } = weights[0];
      if (!measured.has(data)) measured.set(data, sparsityOf(weights[0]));
      Object.assign(layer, measured.get(data));
    }
    found.push(layer);
  }
  return found;
}

/** The sparsity of a matrix, or the reason why the page does not know it. */
function sparsityOf(tensor) {
  try {
    return sparsity(elements(tensor));
  } catch (error) {
    return { reason: error.message };
  }
}

function sparsity(values) {
  let zeros = 0, sum = 0, squares = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) throw new Error("has a weight that is not finite");
    zeros += value === 0;
    sum += Math.abs(value);
    squares += value * value;
  }
  const root = Math.sqrt(values.length);
  const hoyer = values.length > 1 && squares > 0 && squares < Infinity ? (root - sum / Math.sqrt(squares)) / (root - 1) : null;
  return { zeros: zeros / values.length, hoyer };
}
