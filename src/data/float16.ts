/** IEEE 754 binary16 and bfloat16, as bits in `Uint16Array`: engines without `Float16Array` are still supported. */

const HALF_TO_FLOAT: Float32Array = new Float32Array(1 << 16);
let tableReady = false;

function fillTable(): void {
  for (let bits = 0; bits < 1 << 16; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    HALF_TO_FLOAT[bits] =
      exponent === 0
        ? sign * fraction * 2 ** -24
        : exponent === 31
          ? fraction
            ? NaN
            : sign * Infinity
          : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  tableReady = true;
}

/** The float32 value of every binary16 bit pattern, indexed by the pattern. Built on first use (256 KiB). */
export function halfTable(): Float32Array {
  if (!tableReady) fillTable();
  return HALF_TO_FLOAT;
}

const word = new Float32Array(1);
const wordBits = new Uint32Array(word.buffer);

/**
 * Float32 bits of a value; one that float32 cannot hold is rounded to odd (towards zero, last bit set), so that
 * rounding the result to fewer bits is the same as rounding the value once.
 */
function oddBits(value: number): number {
  word[0] = value;
  const rounded = word[0];
  if (rounded === value || value !== value) return wordBits[0];
  return (Math.abs(rounded) > Math.abs(value) ? wordBits[0] - 1 : wordBits[0]) | 1;
}

/** Nearest binary16 to a value, ties to even; every NaN becomes the quiet one of its sign. */
export function toHalf(value: number): number {
  return halfOfBits(oddBits(value));
}

/** {@link toHalf} of the float32 with these bits. */
export function halfOfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x33000001) return sign;
  let exponent = (magnitude >>> 23) - 112;
  let fraction = magnitude & 0x7fffff;
  let shift = 13;
  if (exponent <= 0) {
    fraction |= 0x800000;
    shift = 14 - exponent;
    exponent = 0;
  }
  const half = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  const roundUp = rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0;
  return sign | ((exponent << 10) + half + roundUp);
}

/** float32 values of binary16 bit patterns. */
export function halvesToFloats(
  bits: Uint16Array,
  out: Float32Array = new Float32Array(bits.length),
): Float32Array {
  const table = halfTable();
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]]!;
  return out;
}

/** Bit patterns of the nearest binary16 values. */
export function floatsToHalves(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = toHalf(values[i]);
  return out;
}

/** float32 values of bfloat16 bit patterns: exact. */
export function bfloatsToFloats(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i] << 16;
  return new Float32Array(out.buffer);
}

/** Bit patterns of the nearest bfloat16 values, ties to even. */
export function floatsToBfloats(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const bits = oddBits(values[i]) >>> 0;
    out[i] =
      (bits & 0x7fffffff) > 0x7f800000 ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }
  return out;
}
