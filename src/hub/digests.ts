/**
 * SHA-1 and SHA-256 (FIPS 180-4) of data that arrive piece by piece, for browsers: `crypto.subtle` wants all bytes at once.
 * SHA-1 is there because git names files by it; it guards against damage, not against an attacker.
 */
import type { Digest } from "./hub-store.ts";

const BLOCK = 64;

/** The first 32 bits of the fractional parts of cube roots (p = 3) or square roots (p = 2) of the first primes. */
function rootBits(count: number, p: 2 | 3): Uint32Array {
  const out = new Uint32Array(count);
  for (let n = 2, found = 0; found < count; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
    if (!prime) continue;
    const root = p === 2 ? Math.sqrt(n) : Math.cbrt(n);
    out[found++] = Math.floor((root - Math.floor(root)) * 2 ** 32);
  }
  return out;
}

const K256 = rootBits(64, 3);
const START = {
  sha1: Uint32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0),
  sha256: rootBits(8, 2),
};

export function streamingDigest(kind: "sha1" | "sha256"): Digest {
  const state = START[kind].slice();
  const words = new Int32Array(80);
  const compress = kind === "sha1" ? compressSha1 : compressSha256;
  const block = new Uint8Array(BLOCK);
  let filled = 0;
  let length = 0;
  const update = (bytes: Uint8Array): void => {
    length += bytes.length;
    let at = 0;
    if (filled > 0) {
      at = Math.min(BLOCK - filled, bytes.length);
      block.set(bytes.subarray(0, at), filled);
      filled += at;
      if (filled < BLOCK) return;
      compress(state, words, block, 0);
    }
    for (; at + BLOCK <= bytes.length; at += BLOCK) compress(state, words, bytes, at);
    filled = bytes.length - at;
    block.set(bytes.subarray(at));
  };
  return {
    update,
    hex() {
      const bits = BigInt(length) * 8n;
      const padding = new Uint8Array((filled < 56 ? 56 : 120) - filled + 8);
      padding[0] = 0x80;
      new DataView(padding.buffer).setBigUint64(padding.length - 8, bits);
      update(padding);
      return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("");
    },
  };
}

function readWords(words: Int32Array, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < 16; i++, at += 4) {
    words[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }
}

const left = (x: number, n: number): number => (x << n) | (x >>> (32 - n));

function compressSha1(state: Uint32Array, w: Int32Array, bytes: Uint8Array, at: number): void {
  readWords(w, bytes, at);
  for (let t = 16; t < 80; t++) w[t] = left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  let [a, b, c, d, e] = state;
  for (let t = 0; t < 80; t++) {
    const [f, k] =
      t < 20
        ? [(b & c) | (~b & d), 0x5a827999]
        : t < 40
          ? [b ^ c ^ d, 0x6ed9eba1]
          : t < 60
            ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
            : [b ^ c ^ d, 0xca62c1d6];
    const next = (left(a, 5) + f + e + k + w[t]) | 0;
    e = d;
    d = c;
    c = left(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

function compressSha256(state: Uint32Array, w: Int32Array, bytes: Uint8Array, at: number): void {
  readWords(w, bytes, at);
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15];
    const y = w[t - 2];
    const s0 = left(x, 25) ^ left(x, 14) ^ (x >>> 3);
    const s1 = left(y, 15) ^ left(y, 13) ^ (y >>> 10);
    w[t] = (w[t - 16] + s0 + w[t - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t++) {
    const s1 = left(e, 26) ^ left(e, 21) ^ left(e, 7);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K256[t] + w[t]) | 0;
    const s0 = left(a, 30) ^ left(a, 19) ^ left(a, 10);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}
