// The runtime of the page, and the turns in which it is used.

let loading = null;

/** The bytes of the runtime's two files. */
const runtimeFiles = () => Promise.all(["onnxruntime.mjs", "onnxruntime.wasm"].map(part));

/** The runtime, loaded at the first call. */
function runtime() {
  loading ??= runtimeFiles()
    .then((files) => started(...files))
    .catch((error) => {
      loading = null;
      throw error;
    });
  return loading;
}

let last = Promise.resolve();

/** Does a task once those before it are done: none disturbs the latency of another, nor calls a session twice at once. */
function inTurn(task) {
  const done = last.then(task);
  last = done.catch(() => {});
  return done;
}

/** A duration with three digits: "0.213 ms". */
const milliseconds = (ms) => `${ms.toLocaleString("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 })} ms`;
const howTimed = ({ calls }) => `median of ${BLOCKS} blocks of ${calls.toLocaleString("en")} calls`;
