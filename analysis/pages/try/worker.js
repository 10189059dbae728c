// The worker in which the file of a visitor runs, endless or not, while the page goes on: see engine.js for its latency.

const MOST_VALUES = 2 ** 26;
/** Extent of an axis that the file leaves open. */
const OPEN_EXTENT = 1;
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array,
  uint64: BigUint64Array, uint32: Uint32Array, uint16: Uint16Array, uint8: Uint8Array, bool: Uint8Array, float16: Uint16Array,
};

/** Input tensors for every input: numbers between 0 and 1, or zeros for integers, which are always valid indices. */
function randomFeeds(ort, inputs) {
  const feeds = {};
  for (const { name, kind, shape, text } of inputs) {
    const Values = ARRAYS[kind];
    if (!Values || !shape) throw new Error(`this page has no values for the input ${text}`);
    const dims = shape.map((extent) => (Number.isInteger(extent) && extent > 0 ? extent : OPEN_EXTENT));
    const size = dims.reduce((product, one) => product * one, 1);
    if (size > MOST_VALUES) throw new Error(`input ${name} has ${size.toLocaleString("en")} values, more than this page makes`);
    const values = new Values(size);
    if (kind.startsWith("float") && kind !== "float16") for (let i = 0; i < size; i++) values[i] = Math.random();
    feeds[name] = new ort.Tensor(kind, values, dims);
  }
  return feeds;
}

/** Measures one model: posts what it does, and in the end its latency and the shapes of its inputs, or an error. */
onmessage = async ({ data: { code, wasm, bytes, inputs } }) => {
  try {
    const ort = await started(code, wasm);
    const session = await ort.InferenceSession.create(bytes);
    const feeds = randomFeeds(ort, inputs);
    const [found] = await timed([() => session.run(feeds)], (text) => postMessage({ text }));
    postMessage({ found, shapes: Object.entries(feeds).map(([name, { dims }]) => ({ name, dims })) });
  } catch (error) {
    postMessage({ error: String(error?.message ?? error) });
  }
};
