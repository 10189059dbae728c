// Any ONNX file of the visitor's: its layers, the sparsity of the fully-connected ones, its latency. It stays in the browser.

const MOST_FILE_BYTES = 512 * 2 ** 20;
const MOST_ROWS = 200;
/** Extent of an axis that the file leaves open. */
const OPEN_EXTENT = 1;
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array,
  uint64: BigUint64Array, uint32: Uint32Array, uint16: Uint16Array, uint8: Uint8Array, bool: Uint8Array, float16: Uint16Array,
};

/** Text of a file: its beginning, with escapes for characters that hide or turn others. */
const shown = (text, most = 300) =>
  (text.length > most ? `${text.slice(0, most)} ...` : text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
const shapeText = (shape) => (shape ? `[${shape.join(", ")}]` : "of any shape");
const valueText = ({ name, type, shape }) => `${name}: ${typeName(type)} ${shapeText(shape)}`;

/** Input tensors for every input: numbers between 0 and 1, or zeros for integers, which are always valid indices. */
function randomFeeds(ort, inputs) {
  const feeds = {};
  for (const { name, type, shape } of inputs) {
    const kind = typeName(type), Values = ARRAYS[kind];
    if (!Values || !shape) throw new Error(`input ${name} is ${kind} ${shapeText(shape)}, for which this page has no values`);
    const dims = shape.map((extent) => (Number.isInteger(extent) && extent > 0 ? extent : OPEN_EXTENT));
    const size = dims.reduce((product, one) => product * one, 1);
    if (size > MOST_VALUES) throw new Error(`input ${name} has ${size.toLocaleString("en")} values, more than this page makes`);
    const values = new Values(size);
    if (kind.startsWith("float") && kind !== "float16") for (let i = 0; i < size; i++) values[i] = Math.random();
    feeds[name] = new ort.Tensor(kind, values, dims);
  }
  return feeds;
}

function describeFile(model, size) {
  const opsets = model.opsets.map(({ domain, version }) => `${domain || "ai.onnx"} ${version}`).join(", ");
  return [
    ["size", `${size.toLocaleString("en")} bytes`],
    ["made by", model.producer || "not said"],
    ["operator sets", opsets || "not said"],
    ["inputs", model.inputs.map(valueText).join("; ")],
    ["outputs", model.outputs.map(valueText).join("; ")],
    ["nodes", model.nodes.length.toLocaleString("en")],
  ];
}

function layerRow({ name, operator, shape, zeros, hoyer, reason, isFullyConnected }) {
  const cell = (value, text) => (value === null ? (isFullyConnected && reason) || "\u2013" : text(value));
  return [shown(name), shown(operator), shape.join(" \u00d7 "), cell(zeros, (share) => `${(100 * share).toFixed(2)} %`), cell(hoyer, (value) => value.toFixed(4))];
}

let lastOpened = 0;

/** Read a file and show what it holds, unless another one was opened meanwhile; `say` gets messages for the reader. */
async function showFile(file, place, say) {
  const mine = ++lastOpened;
  place.hidden = true;
  if (file.size > MOST_FILE_BYTES) throw new Error(`${file.name} has ${file.size.toLocaleString("en")} bytes; this page reads at most ${MOST_FILE_BYTES.toLocaleString("en")}`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (mine !== lastOpened) return;
  let model, rows;
  try {
    model = readModel(bytes);
    rows = layers(model);
  } catch (error) {
    throw new Error(`${file.name}: ${error.message}`);
  }
  place.querySelector("h3").textContent = shown(file.name);
  const facts = place.querySelector("dl");
  facts.replaceChildren();
  for (const [name, text] of describeFile(model, bytes.length)) {
    facts.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: shown(text, 2000) }));
  }
  const body = place.querySelector("tbody");
  body.replaceChildren();
  for (const layer of rows.slice(0, MOST_ROWS)) {
    const row = body.insertRow();
    layerRow(layer).forEach((text, i) => {
      row.append(Object.assign(document.createElement(i ? "td" : "th"), { textContent: text }, i ? { className: i === 1 ? "text" : "" } : { scope: "row" }));
    });
  }
  place.querySelector("[data-more]").textContent = rows.length > MOST_ROWS ? `${rows.length - MOST_ROWS} more layers are not shown.` : rows.length ? "" : "It has no layer with weights that this page knows.";
  const button = place.querySelector("button"), result = place.querySelector("output");
  result.textContent = "";
  button.disabled = false;
  button.onclick = async () => {
    button.disabled = true;
    say("measuring ...");
    try {
      const latency = await inTurn(() => fileLatency(bytes, model.inputs, say));
      if (mine === lastOpened) result.textContent = shown(latency, 2000);
      say("");
    } catch (error) {
      say(`${file.name} does not run here: ${error.message}`);
    } finally {
      if (mine === lastOpened) button.disabled = false;
    }
  };
  place.hidden = false;
  say("");
}

/** The latency of a file, in words. */
async function fileLatency(bytes, inputs, say) {
  const ort = await runtime();
  const session = await ort.InferenceSession.create(bytes.slice());
  try {
    const feeds = randomFeeds(ort, inputs);
    const [found] = await timed([() => session.run(feeds)], say);
    const shapes = Object.entries(feeds).map(([name, tensor]) => `${name} ${shapeText(tensor.dims)}`).join(", ");
    return `${milliseconds(found.ms)} a call (${howTimed(found)}; one thread of WebAssembly in this browser; ${shapes})`;
  } finally {
    await session.release();
  }
}
