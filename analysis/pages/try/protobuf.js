// Protocol buffers, as far as an ONNX file needs them (protobuf.dev/programming-guides/encoding). The file may be hostile.

const UTF8 = new TextDecoder();
const VARINT = 0, BITS64 = 1, BYTES = 2, BITS32 = 5;
/** A file has at most so many fields, elements stored one by one included, and parts; more would stop the browser. */
const MOST = { fields: 5_000_000, parts: 1_000_000 };

/** A part of a file that is read field by field. */
class Message {
  /**
   * @param {Uint8Array} bytes the whole file
   * @param {{fields: number, parts: number}} budget what may still be read, shared by all messages of a file
   */
  constructor(bytes, start = 0, end = bytes.length, budget = { ...MOST }) {
    Object.assign(this, { bytes, start, end, budget });
  }

  /**
   * Every field that may be one of ours: its number, and its value, a Message over its bytes or, where the number is one
   * of `integers`, a number. Packed integers come one by one; a field of another kind is skipped, as an unknown one is.
   * @param {Object<number, number>} elements the wire type of each number whose value is a Message also if it is of that
   */
  *fields(integers = [], elements = {}) {
    for (let at = this.start; at < this.end; ) {
      this.#spend("fields");
      const [key, next] = readVarint(this.bytes, at, this.end);
      const kind = key % 8, number = Math.floor(key / 8);
      const begin = (at = next);
      let length = kind === BITS64 ? 8 : 4;
      if (kind === VARINT || kind === BYTES) [length, at] = readVarint(this.bytes, at, this.end);
      else if (kind !== BITS64 && kind !== BITS32) throw new Error(`not an ONNX file: byte ${at} begins no field`);
      if (number < 1) throw new Error(`not an ONNX file: byte ${at} begins no field`);
      if (kind === VARINT) {
        if (integers.includes(number)) yield { number, value: length };
        else if (elements[number] === kind) yield { number, value: new Message(this.bytes, begin, at, this.budget) };
        continue;
      }
      if (length < 0 || length > this.end - at) throw new Error(`the file ends, or a part of it, before a field at byte ${at}`);
      const value = new Message(this.bytes, at, at + length, this.budget);
      at += length;
      if (kind === BYTES) this.#spend("parts");
      else if (elements[number] !== kind) continue;
      if (!integers.includes(number)) yield { number, value };
      else for (const one of value.packed()) yield { number, value: one };
    }
  }

  /** The integers of a packed field. */
  *packed() {
    for (let at = this.start, value; at < this.end; ) {
      this.#spend("fields");
      [value, at] = readVarint(this.bytes, at, this.end);
      yield value;
    }
  }

  #spend(what) {
    if (this.budget[what]-- <= 0) throw new Error(`more than ${MOST[what].toLocaleString("en")} ${what}`);
  }

  get text() {
    return UTF8.decode(this.content);
  }

  get content() {
    return this.bytes.subarray(this.start, this.end);
  }
}

/** The integer at `at`, signed, and where the next one begins. One beyond 2^53 is rounded. */
function readVarint(bytes, at, end) {
  let low = 0, high = 0n;
  for (let n = 0; n < 10; n++) {
    if (at >= end) throw new Error(`the file ends, or a part of it, within a number at byte ${at}`);
    const byte = bytes[at++];
    if (n < 7) low += (byte & 127) * 128 ** n;
    else high |= BigInt(byte & 127) << BigInt(7 * n);
    if (byte < 128) return [n < 7 ? low : Number(BigInt.asIntN(64, high + BigInt(low))), at];
  }
  throw new Error(`not an ONNX file: the number before byte ${at} does not end`);
}
