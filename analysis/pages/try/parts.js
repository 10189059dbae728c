// The parts of this page: the runtime, the models and the test images.

/** Whether they are in this file; otherwise the server that gave the page has them. */
const EMBEDDED = document.querySelector("script[data-part]") !== null;

/** The bytes of a part: embedded as base64 of gzip, or from the server. */
async function part(name) {
  if (!EMBEDDED) {
    const response = await fetch(`parts/${name}`);
    if (!response.ok) throw new Error(`${name}: the server answers ${response.status}; start it again`);
    return new Uint8Array(await response.arrayBuffer());
  }
  const text = atob(document.querySelector(`script[data-part="${name}"]`).textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
