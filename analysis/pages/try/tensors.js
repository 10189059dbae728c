// The tensors of an ONNX file (TensorProto and SparseTensorProto in onnx.proto), and their elements as numbers.

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
const INT64 = 7;
/** Fields of a tensor that hold its elements, and the wire type of one alone, where they are not packed. */
const RAW = 9, FLOATS = 4, INT32S = 5, INT64S = 7, DOUBLES = 10;
const ELEMENTS = { [RAW]: BYTES, [FLOATS]: BITS32, [INT32S]: VARINT, [INT64S]: VARINT, [DOUBLES]: BITS64 };
/** NumPy has at most 64; a hostile file has millions. */
const MOST_AXES = 64;
const MOST_VALUES = 2 ** 26;

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

/** A tensor; the elements stay in the file: `data` has the beginning and the end of each piece of them, by its field. */
function readTensor(message) {
  const tensor = { name: "", dims: [], type: 0, data: { message }, external: false };
  for (const { number, value } of message.fields([1, 2, 14], ELEMENTS)) {
    if (number === 1) addExtent(tensor.dims, value);
    else if (number === 2) tensor.type = value;
    else if (number === 8) tensor.name = value.text;
    else if (number === 14) tensor.external = value === 1;
    else if (number in ELEMENTS) (tensor.data[number] ??= []).push(value.start, value.end);
  }
  return tensor;
}

/** A tensor of which the file has only some elements and their places; the others are zero. */
function readSparseTensor(message) {
  const sparse = { values: readTensor(new Message(new Uint8Array())), indices: null, dims: [] };
  for (const { number, value } of message.fields([3])) {
    if (number === 1) sparse.values = readTensor(value);
    else if (number === 2) sparse.indices = readTensor(value);
    else if (number === 3) addExtent(sparse.dims, value);
  }
  const { name, type } = sparse.values;
  return { name, type, dims: sparse.dims, data: { sparse }, external: false };
}

function addExtent(shape, extent) {
  if (shape.push(extent) > MOST_AXES) throw new Error(`more than ${MOST_AXES} axes`);
}

/** The pieces of a field, one behind the other, in a buffer of their own. */
function joined({ message, ...data }, field) {
  const pieces = field === RAW ? (data[RAW] ?? []).slice(-2) : (data[field] ?? []);
  let size = 0;
  for (let i = 0; i < pieces.length; i += 2) size += pieces[i + 1] - pieces[i];
  const bytes = new Uint8Array(size);
  for (let i = 0, at = 0; i < pieces.length; at += pieces[i + 1] - pieces[i], i += 2) {
    bytes.set(message.bytes.subarray(pieces[i], pieces[i + 1]), at);
  }
  return bytes.buffer;
}

/** The integers of a field. */
const integers = (data, field) => new Message(new Uint8Array(joined(data, field)), 0, undefined, data.message.budget).packed();

/** The bytes of a tensor's elements, in a buffer of their own; 16-bit ones are int32_data where they are not raw_data. */
function stored({ type, data }) {
  const raw = joined(data, RAW);
  if (raw.byteLength) return raw;
  if (TYPES[type][1] === 2) return Uint16Array.from(integers(data, INT32S)).buffer;
  if (type === INT64) return BigInt64Array.from(integers(data, INT64S), BigInt).buffer;
  return joined(data, { 1: FLOATS, 11: DOUBLES }[type]);
}

/** The elements of a tensor as they are stored, in a buffer; throws where they are not there or not as many. */
function checked(tensor) {
  const { name, dims, type, external } = tensor, [kind, size] = TYPES[type];
  if (external) throw new Error("in another file");
  if (dims.some((extent) => extent < 0)) throw new Error(`damaged: ${name} has a negative extent`);
  const expected = elementsIn(dims), buffer = stored(tensor);
  if (buffer.byteLength !== expected * size) {
    throw new Error(`damaged: ${name} has ${buffer.byteLength} bytes of ${kind}, expected ${expected * size}`);
  }
  return buffer;
}

const elementsIn = (dims) => dims.reduce((product, one) => product * one, 1);

/** The weights of a tensor, row by row; throws where the file does not have them as floating-point numbers. */
function elements(tensor) {
  const convert = TYPES[tensor.type]?.[2];
  if (!convert) throw new Error(`${typeName(tensor.type)}, which this page does not read`);
  const values = tensor.data.sparse ? dense(tensor.data.sparse, convert) : convert(checked(tensor));
  if (!values.length) throw new Error("has no weights");
  return values;
}

/** All elements of a sparse tensor. Its indices are places in the flat tensor, or a row of places by axis for each. */
function dense({ values, indices, dims }, convert) {
  const size = elementsIn(dims), some = convert(checked(values));
  if (!(size >= 0 && size <= MOST_VALUES)) throw new Error(`${values.name} has ${size.toLocaleString("en")} values, more than this page makes`);
  if (indices?.type !== INT64) throw new Error(`damaged: ${values.name} has no places for its values`);
  const extents = indices.dims.length > 1 ? dims : [size];
  const places = new BigInt64Array(checked(indices));
  if (places.length !== some.length * extents.length) throw new Error(`damaged: ${values.name} has ${some.length} values and ${places.length} places`);
  const all = new some.constructor(size);
  for (let i = 0; i < some.length; i++) {
    let at = 0;
    for (const [axis, extent] of extents.entries()) {
      const place = Number(places[i * extents.length + axis]);
      if (place < 0 || place >= extent) throw new Error(`damaged: ${values.name} has a value outside its shape`);
      at = at * extent + place;
    }
    all[at] = some[i];
  }
  return all;
}
