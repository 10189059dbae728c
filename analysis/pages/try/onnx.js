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
  10: ["float16", 2, (buffer) => Float32Array.from(new Uint16Array(buffer), fromHalf)],
  11: ["float64", 8, (buffer) => new Float64Array(buffer)],
  12: ["uint32", 4],
  13: ["uint64", 8],
  16: ["bfloat16", 2, (buffer) => new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer)],
};
const typeName = (type) => TYPES[type]?.[0] ?? `type ${type}`;
/** Which inputs of an operator may be its weights. */
const WEIGHTS = { Conv: [1], ConvTranspose: [1], Gemm: [0, 1], MatMul: [0, 1], Gather: [0], LSTM: [1, 2], GRU: [1, 2], RNN: [1, 2] };
const FULLY_CONNECTED = new Set(["Gemm", "MatMul"]);
/** Nodes that hand on a matrix with the same elements. */
const SAME_ELEMENTS = new Set(["Identity", "Transpose"]);

/** A half-precision number from its bits (IEEE 754 binary16). */
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function readTensor(message) {
  const tensor = { name: "", dims: [], type: 0, data: null, external: false };
  for (const { number, kind, value } of message.fields()) {
    if (number === 1 && kind === VARINT) tensor.dims.push(value);
    else if (number === 1) tensor.dims.push(...value.varints());
    else if (number === 2) tensor.type = value;
    else if (number === 8) tensor.name = value.text;
    else if ((number === 9 || number === 4 || number === 10) && kind === BYTES) tensor.data = value.content;
    else if (number === 14) tensor.external = value === 1;
  }
  return tensor;
}

/** The weights of a tensor, row by row; throws where the file does not have them as floating-point numbers. */
function elements({ name, dims, type, data, external }) {
  const [kind, size, convert] = TYPES[type] ?? [];
  if (!convert) throw new Error(`${typeName(type)}, which this page does not read`);
  if (external) throw new Error("in another file");
  const expected = dims.reduce((product, one) => product * one, 1);
  if (!data || data.length !== expected * size) {
    throw new Error(`damaged: ${name} has ${data?.length ?? 0} bytes of ${kind}, expected ${expected * size}`);
  }
  return convert(data.slice().buffer);
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
      for (const part of tensor.value.fields()) {
        if (part.number === 1) found.type = part.value;
        else if (part.number === 2) found.shape = [...part.value.fields()].filter((one) => one.number === 1).map((one) => readExtent(one.value));
      }
    }
  }
  return found;
}

function readExtent(message) {
  for (const { number, value } of message.fields()) {
    if (number === 1) return value;
    if (number === 2) return value.text;
  }
  return "?";
}

/** The model in a file: producer, operator sets, inputs, outputs, nodes, and initializers by name. */
function readModel(bytes) {
  const model = { producer: "", opsets: [], inputs: [], outputs: [], nodes: [], initializers: new Map() };
  let graph = null;
  for (const { number, kind, value } of new Message(bytes).fields()) {
    if (kind !== BYTES) continue;
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
  for (const { number, value } of message.fields()) {
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
  const found = [];
  for (const node of model.nodes) {
    const weights = (WEIGHTS[node.operator] ?? []).map((i) => model.initializers.get(node.inputs[i])).filter(Boolean);
    if (!weights.length) continue;
    const layer = { name: weights[0].name || node.name, operator: node.operator, shape: weights[0].dims, zeros: null, hoyer: null, reason: "" };
    layer.isFullyConnected = FULLY_CONNECTED.has(node.operator) && weights.length === 1 && weights[0].dims.length === 2;
    if (layer.isFullyConnected) {
      try {
        Object.assign(layer, sparsity(elements(weights[0])));
      } catch (error) {
        layer.reason = error.message;
      }
    }
    found.push(layer);
  }
  return found;
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
  const hoyer = values.length > 1 && squares > 0 ? (root - sum / Math.sqrt(squares)) / (root - 1) : null;
  return { zeros: zeros / values.length, hoyer };
}
