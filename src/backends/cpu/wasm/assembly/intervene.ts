/** Changes of activations between two layers' products, and what then has to be computed apart from these. */
import { activate } from "./activation";
import { multiply, sum } from "./linear";

/** Rows of an item, and values. */
const ROWS: i32 = 64;
const VALUES: i32 = 16384;

/**
 * Item: 64 rows. Words: 0 x f32 [rows × d], 1 d, 2 rows u32 (0: the first ones), 3 number of rows, 4 columns u32[k], 5 k,
 * 6 values f32[k], 7 what becomes of x: 0 the value, 1 value·x, 2 x + value.
 */
export function changeRows(item: i32, a: usize, thread: i32): void {
  const x = <usize>load<u32>(a);
  const rowBytes = <usize>load<u32>(a, 4) << 2;
  const list = <usize>load<u32>(a, 8);
  const columns = <usize>load<u32>(a, 16);
  const bytes = <usize>load<u32>(a, 20) << 2;
  const values = <usize>load<u32>(a, 24);
  const kind = load<i32>(a, 28);
  const first = item * ROWS;
  for (let r = first, end = min(first + ROWS, load<i32>(a, 12)); r < end; r++) {
    const row = x + rowBytes * (list ? <usize>load<u32>(list + (<usize>r << 2)) : <usize>r);
    for (let i: usize = 0; i < bytes; i += 4) {
      const at = row + (<usize>load<u32>(columns + i) << 2);
      const value = load<f32>(values + i);
      if (kind == 0) store<f32>(at, value);
      else store<f32>(at, kind == 1 ? load<f32>(at) * value : load<f32>(at) + value);
    }
  }
}

/**
 * Item: 16384 values. Words: 0 x, 1 y = f(x), which may be x, 2 what y is multiplied by (0: nothing), 3 number of values,
 * 4 activation, 5 scratch, 6 scratch bytes of a thread: 16.
 */
export function activateValues(item: i32, a: usize, thread: i32): void {
  const first = item * VALUES;
  const bytes = <usize>min(VALUES, load<i32>(a, 12) - first) << 2;
  const at = <usize>first << 2;
  const y = <usize>load<u32>(a, 4) + at;
  const factor = <usize>load<u32>(a, 8);
  const spare = <usize>load<u32>(a, 20) + <usize>thread * <usize>load<u32>(a, 24);
  activate(load<i32>(a, 16), <usize>load<u32>(a) + at, y, bytes, spare);
  if (factor) multiply(y, factor + at, bytes);
}

/** Item: 16384 values. Words: 0 x, 1 a further x (0: none), 2 what both are added to, 3 number of values. */
export function addValues(item: i32, a: usize, thread: i32): void {
  const first = item * VALUES;
  const bytes = <usize>min(VALUES, load<i32>(a, 12) - first) << 2;
  const at = <usize>first << 2;
  const and = <usize>load<u32>(a, 4);
  const to = <usize>load<u32>(a, 8) + at;
  sum(to, <usize>load<u32>(a) + at, and ? and + at : 0, to, bytes);
}
