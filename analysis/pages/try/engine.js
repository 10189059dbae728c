// onnxruntime-web, and the latency of a model in it: for the page and for its worker.

const BLOCKS = 5;
const BLOCK_MS = 60;
const WARM_UP_MS = 600;

/** The runtime on one thread, from the bytes of its two files. */
async function started(code, wasm) {
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  try {
    const ort = await import(address);
    Object.assign(ort.env.wasm, { numThreads: 1, proxy: false, wasmBinary: wasm.buffer });
    ort.env.logLevel = "error";
    return ort;
  } finally {
    URL.revokeObjectURL(address);
  }
}

const pause = () => new Promise((resolve) => setTimeout(resolve));

/**
 * Median milliseconds a call of each function, over blocks of calls: a browser's clock is too coarse for one call. They
 * take turns, block by block, once all are warm: the browser compiles WebAssembly better while it runs.
 * @returns {{ms: number, calls: number}[]} `calls` is the number in a block
 */
async function timed(functions, say = () => {}) {
  const sizes = [];
  for (const [i, call] of functions.entries()) {
    say(`warming up ${i + 1} of ${functions.length} ...`);
    await pause(); // so that the page shows it
    const start = performance.now();
    let calls = 0, ms = 0;
    for (; ms < WARM_UP_MS; calls++, ms = performance.now() - start) await call();
    sizes.push(Math.ceil((BLOCK_MS * calls) / ms));
  }
  const times = functions.map(() => []);
  for (let block = 0; block < BLOCKS; block++) {
    say(`measuring, block ${block + 1} of ${BLOCKS} ...`);
    for (const [i, call] of functions.entries()) {
      await pause();
      const begin = performance.now();
      for (let n = 0; n < sizes[i]; n++) await call();
      times[i].push((performance.now() - begin) / sizes[i]);
    }
  }
  return times.map((one, i) => ({ ms: one.sort((a, b) => a - b)[BLOCKS >> 1], calls: sizes[i] }));
}
