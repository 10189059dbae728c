// What an ONNX file holds, read from its bytes (onnx.proto): inputs, nodes, and the weights of fully-connected layers.

/** Which inputs of an operator may be its weights. */
const WEIGHTS = new Map(Object.entries({ Conv: [1], ConvTranspose: [1], Gemm: [0, 1], MatMul: [0, 1], Gather: [0], LSTM: [1, 2], GRU: [1, 2], RNN: [1, 2] }));
const FULLY_CONNECTED = new Set(["Gemm", "MatMul"]);
/** Nodes that hand on a matrix with the same elements. */
const SAME_ELEMENTS = new Set(["Identity", "Transpose"]);

function readNode(message) {
  const node = { inputs: [], outputs: [], name: "", operator: "", domain: "", constant: null };
  for (const { number, value } of message.fields()) {
    if (number === 1) node.inputs.push(value.text);
    else if (number === 2) node.outputs.push(value.text);
    else if (number === 3) node.name = value.text;
    else if (number === 4) node.operator = value.text;
    else if (number === 7) node.domain = value.text;
    else if (number === 5) {
      for (const attribute of value.fields()) {
        if (attribute.number === 5) node.constant = readTensor(attribute.value);
        else if (attribute.number === 22) node.constant = readSparseTensor(attribute.value);
      }
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
      for (const part of tensor.value.fields([1])) {
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
  for (const { number, value } of message.fields([1])) {
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
    else if (number === 5 || number === 15) {
      const tensor = number === 5 ? readTensor(value) : readSparseTensor(value);
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
  for (const { number, value } of message.fields([2])) {
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
