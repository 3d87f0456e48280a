/** Rotary position embedding and causal attention. */
import { tile4 } from "./linear";
import { exp4, splat, tanh4 } from "./vector";

/** Column `i` of up to four rows, `step` bytes apart, with its rotation; rows beyond `last` repeat the last one. */
@inline
function fourOf(x: usize, step: usize, last: usize): v128 {
  let v = v128.load32_zero(x);
  v = v128.load_lane<f32>(x + min(<usize>1, last) * step, v, 1);
  v = v128.load_lane<f32>(x + min(<usize>2, last) * step, v, 2);
  return v128.load_lane<f32>(x + min(<usize>3, last) * step, v, 3);
}

/**
 * Packs one head's queries or keys of four tokens, rotated: the pair (i, i + dims/2) of the leading `dims` values turns by
 * the token's position times frequency i. Value i of the four goes to `to + i·toStep`.
 *
 * @param last tokens after the first that exist; the last one is repeated
 * @param turns cos and sin of the first token's position, [positions × 2 × dims/2]
 */
function packTurned(
  x: usize, step: usize, last: usize, turns: usize, dHead: i32, dims: i32, to: usize, toStep: usize,
): void {
  const half = <usize>(dims >> 1) << 2;
  const turn = 2 * half;
  const far = (<usize>(dims >> 1)) * toStep;
  let i: usize = 0;
  for (; i < half; i += 4, to += toStep) {
    const c = fourOf(turns + i, turn, last);
    const s = fourOf(turns + half + i, turn, last);
    const a = fourOf(x + i, step, last);
    const b = fourOf(x + half + i, step, last);
    v128.store(to, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(to + far, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
  to += far;
  const end = <usize>dHead << 2;
  for (i = turn; i < end; i += 4, to += toStep) v128.store(to, fourOf(x + i, step, last));
}

/** 1 bits where key is after the query or out of its window: lane j is query `query + j`. */
@inline
function unseen(key: i32, query: i32, window: i32): v128 {
  const queries = i32x4.add(i32x4.splat(query), i32x4(0, 1, 2, 3));
  const at = i32x4.splat(key);
  return v128.or(i32x4.gt_s(at, queries), i32x4.le_s(at, i32x4.sub(queries, i32x4.splat(window))));
}

/**
 * exp(scale·(score − highest score)) in place, of eight queries side by side, keys that a query does not see 0; what each
 * query's sum is to be multiplied by goes to `inverse`.
 * @param x scores [keys × 8 queries]
 * @param query the first, counted from the first key, as keys are
 */
function exponentials(x: usize, keys: i32, query: i32, window: i32, scale: f32, inverse: usize): void {
  // Every query sees itself, and all of them the keys from `from` to `to`.
  const from = min(max(0, query + 8 - window), keys), to = max(from, min(query + 1, keys));
  let h0 = splat(-3e38), h1 = h0;
  let p = x;
  for (let key: i32 = 0; key < keys; key++, p += 32) {
    const v = v128.load(p), w = v128.load(p, 16);
    if (key >= from && key < to) {
      h0 = f32x4.pmax(h0, v);
      h1 = f32x4.pmax(h1, w);
    } else {
      h0 = v128.bitselect(h0, f32x4.pmax(h0, v), unseen(key, query, window));
      h1 = v128.bitselect(h1, f32x4.pmax(h1, w), unseen(key, query + 4, window));
    }
  }
  const factor = splat(scale);
  let s0 = splat(0), s1 = s0;
  p = x;
  for (let key: i32 = 0; key < keys; key++, p += 32) {
    let v = exp4(f32x4.mul(f32x4.sub(v128.load(p), h0), factor));
    let w = exp4(f32x4.mul(f32x4.sub(v128.load(p, 16), h1), factor));
    if (key < from || key >= to) {
      v = v128.andnot(v, unseen(key, query, window));
      w = v128.andnot(w, unseen(key, query + 4, window));
    }
    v128.store(p, v);
    v128.store(p, w, 16);
    s0 = f32x4.add(s0, v);
    s1 = f32x4.add(s1, w);
  }
  v128.store(inverse, f32x4.div(splat(1), s0));
  v128.store(inverse, f32x4.div(splat(1), s1), 16);
}

/** Scores s, all keys of 8 queries, become cap·tanh(scale·s/cap). */
function limit(x: usize, keys: i32, scale: f32, cap: f32): void {
  for (const end = x + (<usize>keys << 5); x < end; x += 16) {
    v128.store(x, f32x4.mul(tanh4(f32x4.mul(v128.load(x), splat(scale / cap))), splat(cap)));
  }
}

/**
 * Item: some heads and queries of one sequence. Words: 0 qkv [tokens × (heads + 2·kvHeads) × dHead], all queries first, then
 * keys, then values; 1 z [tokens × heads × dHead], 2 items u32[6] each: first token, first head, heads, first query (a
 * multiple of 8), queries' end, unused; 3 heads, 4 dHead, 5 rotated dimensions, 6 turns, 7 zeros f32[8], 8 kvHeads, 9 scale
 * (f32), 10 limit of scores (f32, 0: none), 11 keys that a query sees, 12 scratch, 13 scratch bytes of a thread. Scratch
 * floats, with t8 and d8 the most tokens and dHead rounded up to 8: keys t8·dHead, values t8·d8, queries 8·dHead, scores 8·t8,
 * edge 64, of which the last 8 hold what sums of exponentials are divided by.
 */
export function attendHeads(item: i32, a: usize, thread: i32): void {
  const part = <usize>load<u32>(a, 8) + <usize>item * 24;
  const token = <usize>load<u32>(part);
  const firstHead = load<i32>(part, 4);
  const lastHead = firstHead + load<i32>(part, 8);
  const firstQuery = load<i32>(part, 12);
  const end = load<i32>(part, 16);
  const heads = load<i32>(a, 12);
  const dHead = load<i32>(a, 16);
  const dims = load<i32>(a, 20);
  const turns = <usize>load<u32>(a, 24);
  const zeros = <usize>load<u32>(a, 28);
  const kvHeads = load<i32>(a, 32);
  const scale = load<f32>(a, 36);
  const cap = load<f32>(a, 40);
  const window = load<i32>(a, 44);
  const perGroup = heads / kvHeads;
  const step = <usize>((heads + 2 * kvHeads) * dHead) << 2;
  const zStep = <usize>(heads * dHead) << 2;
  const head = <usize>dHead << 2;
  const t8 = (end + 7) & ~7;
  const panels = (dHead + 7) >> 3;
  const keys = <usize>load<u32>(a, 48) + <usize>thread * <usize>load<u32>(a, 52);
  const values = keys + <usize>t8 * head;
  const queries = values + ((<usize>(t8 * panels)) << 5);
  const scores = queries + 8 * head;
  const edge = scores + (<usize>t8 << 5);
  const inverse = edge + 224;
  const turn = <usize>dims << 2;
  const row = <usize>load<u32>(a) + token * step;
  // Keys and values are packed for all heads of queries that they serve.
  let packed: i32 = -1;

  for (let h = firstHead; h < lastHead; h++) {
    const q = row + <usize>h * head;
    const z = <usize>load<u32>(a, 4) + token * zStep + <usize>h * head;
    const group = h / perGroup;
    if (group != packed) {
      packed = group;
      const k = row + <usize>(heads + group) * head;
      const v = k + <usize>kvHeads * head;
      // Keys in tiles of four tokens, values in panels of eight columns.
      const first = max(0, firstQuery - window + 1) & ~3;
      for (let t = first; t < end; t += 4) {
        packTurned(
          k + <usize>t * step, step, <usize>min(3, end - 1 - t), turns + <usize>t * turn, dHead, dims,
          keys + <usize>t * head, 16,
        );
      }
      for (let p: i32 = 0; p < panels; p++) {
        let from = v + <usize>first * step + (<usize>p << 5);
        let to = values + ((<usize>(p * t8 + first)) << 5);
        const bytes = <usize>min(8, dHead - (p << 3)) << 2;
        for (let t = first; t < end; t++, from += step, to += 32) {
          if (bytes == 32) {
            v128.store(to, v128.load(from));
            v128.store(to, v128.load(from, 16), 16);
          } else {
            memory.fill(to, 0, 32);
            memory.copy(to, from, bytes);
          }
        }
      }
    }
    for (let query = firstQuery; query < end; query += 8) {
      const count = min(8, end - query);
      const known = query + count;
      const first = max(0, query - window + 1) & ~3;
      const seen = known - first;
      const from = scores + (<usize>first << 5);
      for (let four: i32 = 0; four < 8; four += 4) {
        const at = min(query + four, known - 1);
        packTurned(
          q + <usize>at * step, step, <usize>min(3, known - 1 - at), turns + <usize>at * turn, dHead, dims,
          queries + (<usize>four << 2), 32,
        );
      }
      for (let t = first; t < known; t += 4) {
        tile4(keys + <usize>t * head, 16, queries, dHead, zeros, 0, scores + (<usize>t << 5), 32);
      }
      let factor = scale;
      if (cap != 0) {
        limit(from, seen, scale, cap);
        factor = 1;
      }
      exponentials(from, seen, query - first, window, factor, inverse);
      for (let p: i32 = 0; p < panels; p++) {
        const panel = values + ((<usize>(p * t8 + first)) << 5);
        const columns = min(8, dHead - (p << 3));
        const to = z + <usize>query * zStep + (<usize>p << 5);
        for (let four: i32 = 0; four < count; four += 4) {
          const out = to + <usize>four * zStep;
          const whole = columns == 8 && four + 4 <= count;
          tile4(from + (<usize>four << 2), 32, panel, seen, zeros, 0, whole ? out : edge, whole ? zStep : 32);
          if (whole) continue;
          for (let i: i32 = 0, e = min(4, count - four); i < e; i++) {
            memory.copy(out + <usize>i * zStep, edge + (<usize>i << 5), <usize>columns << 2);
          }
        }
      }
      // Normalised here rather than key by key.
      for (let i: i32 = 0; i < count; i++) {
        const factor = load<f32>(inverse + (<usize>i << 2));
        let to = z + <usize>(query + i) * zStep;
        const stop = to + head;
        for (; to + 16 <= stop; to += 16) v128.store(to, f32x4.mul(v128.load(to), splat(factor)));
        for (; to < stop; to += 4) store<f32>(to, load<f32>(to) * factor);
      }
    }
  }
}
