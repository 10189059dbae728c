// Protocol buffers, as far as an ONNX file needs them (protobuf.dev/programming-guides/encoding). The file may be hostile.

const VARINT = 0, BITS64 = 1, BYTES = 2, BITS32 = 5;
/** A file has at most this many fields; more would stop the browser. */
const MOST_FIELDS = 2_000_000;

/** A part of a file that is read field by field. */
class Message {
  /**
   * @param {Uint8Array} bytes the whole file
   * @param {{fields: number}} budget what may still be read, shared by all messages of a file
   */
  constructor(bytes, start = 0, end = bytes.length, budget = { fields: MOST_FIELDS }) {
    Object.assign(this, { bytes, start, end, budget });
  }

  /** Every field: its number, its kind, and its value: a number, or a Message over its bytes. */
  *fields() {
    let at = this.start;
    const varint = () => {
      const [value, next] = readVarint(this.bytes, at, this.end);
      at = next;
      return value;
    };
    while (at < this.end) {
      if (this.budget.fields-- <= 0) throw new Error(`more than ${MOST_FIELDS.toLocaleString("en")} fields`);
      const key = varint(), kind = key % 8, number = Math.floor(key / 8);
      if (kind === VARINT) {
        yield { number, kind, value: varint() };
        continue;
      }
      const length = { [BITS64]: () => 8, [BYTES]: varint, [BITS32]: () => 4 }[kind]?.();
      if (number < 1 || length === undefined) throw new Error(`not an ONNX file: byte ${at} begins no field`);
      if (length < 0 || length > this.end - at) throw new Error(`the file ends, or a part of it, before a field at byte ${at}`);
      yield { number, kind, value: new Message(this.bytes, at, at + length, this.budget) };
      at += length;
    }
  }

  /** The integers of a packed field. */
  *varints() {
    for (let at = this.start, value; at < this.end; ) {
      if (this.budget.fields-- <= 0) throw new Error(`more than ${MOST_FIELDS.toLocaleString("en")} fields`);
      [value, at] = readVarint(this.bytes, at, this.end);
      yield value;
    }
  }

  get text() {
    return new TextDecoder().decode(this.content);
  }

  get content() {
    return this.bytes.subarray(this.start, this.end);
  }
}

/** The integer at `at`, signed, and where the next one begins. One beyond 2^53 is rounded. */
function readVarint(bytes, at, end) {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    if (at >= end) throw new Error(`the file ends, or a part of it, within a number at byte ${at}`);
    const byte = bytes[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [Number(BigInt.asIntN(64, value)), at];
  }
  throw new Error(`not an ONNX file: the number before byte ${at} does not end`);
}
