// Any ONNX file of the visitor's: its layers, the sparsity of the fully-connected ones, its latency. It stays in the browser.

const MOST_FILE_BYTES = 512 * 2 ** 20;
const MOST_ROWS = 200;
/** A file that gives no sign for so long is stopped; it gives one before each block, of one call at least. */
const MOST_SILENT_MS = 30_000;

/** Text of a file: its beginning, with escapes for characters that hide or turn others. */
const shown = (text, most = 300) =>
  (text.length > most ? `${text.slice(0, most)} ...` : text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
const shapeText = (shape) => (shape ? `[${shape.join(", ")}]` : "of any shape");
const valueText = ({ name, type, shape }) => `${name}: ${typeName(type)} ${shapeText(shape)}`;

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

let lastOpened = 0, measurement = new AbortController();

/** Read a file and show what it holds, unless another one was opened meanwhile; `say` gets messages for the reader. */
async function showFile(file, place, say) {
  const mine = ++lastOpened;
  measurement.abort(new Error("another file was opened"));
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
  const [button, stop] = place.querySelectorAll("button"), result = place.querySelector("output");
  const measuring = (now) => {
    button.disabled = now;
    stop.hidden = !now;
  };
  result.textContent = "";
  measuring(false);
  stop.onclick = () => measurement.abort(new Error("it was stopped"));
  button.onclick = async () => {
    const { signal } = (measurement = new AbortController());
    const sayMine = (text) => mine === lastOpened && say(text);
    measuring(true);
    sayMine("measuring ...");
    try {
      const latency = await inTurn(() => fileLatency(bytes, model.inputs, sayMine, signal));
      if (mine === lastOpened) result.textContent = shown(latency, 2000);
      sayMine("");
    } catch (error) {
      sayMine(`${file.name} does not run here: ${error.message}`);
    }
    if (mine === lastOpened) measuring(false);
  };
  place.hidden = false;
  say("");
}

/** The latency of a file, in words. It runs in a worker, since it may be endless, until `signal` ends it. */
async function fileLatency(bytes, inputs, say, signal) {
  say("starting the runtime ...");
  const [code, wasm] = await runtimeFiles();
  signal.throwIfAborted();
  const address = URL.createObjectURL(new Blob([element("worker").textContent], { type: "text/javascript" }));
  const worker = new Worker(address);
  let timer = 0;
  try {
    const { found, shapes } = await new Promise((resolve, reject) => {
      const wait = () => {
        clearTimeout(timer);
        timer = setTimeout(() => reject(new Error(`no sign of it for ${MOST_SILENT_MS / 1000} seconds, so it was stopped`)), MOST_SILENT_MS);
      };
      worker.onmessage = ({ data }) => {
        wait();
        if (data.text) say(data.text);
        else if (data.error) reject(new Error(data.error));
        else resolve(data);
      };
      worker.onerror = ({ message }) => reject(new Error(message || "this browser starts no worker"));
      signal.addEventListener("abort", () => reject(signal.reason));
      worker.postMessage({ code, wasm, bytes, inputs: inputs.map((one) => ({ ...one, kind: typeName(one.type), text: valueText(one) })) });
      wait();
    });
    const texts = shapes.map(({ name, dims }) => `${name} ${shapeText(dims)}`).join(", ");
    return `${milliseconds(found.ms)} a call (${howTimed(found)}; one thread of WebAssembly in this browser; ${texts})`;
  } finally {
    clearTimeout(timer);
    worker.terminate();
    URL.revokeObjectURL(address);
  }
}
