/** Some columns of a row-major matrix as row-major f32. */
import { loadValue, storageShift } from "./storage";

/**
 * Item: 64 rows. Words: 0 x, 1 storage type, 2 neurons d, 3 rows, 4 columns u32[k], 5 k, 6 scale f32[d], 7 offset f32[d] (u8
 * only), 8 out f32[rows × k].
 */
export function gatherRows(item: i32, a: usize, thread: i32): void {
  const x = <usize>load<u32>(a);
  const dtype = load<i32>(a, 4);
  const rowBytes = (<usize>load<u32>(a, 8)) << storageShift(dtype);
  const rows = load<i32>(a, 12);
  const columns = <usize>load<u32>(a, 16);
  const k = <usize>load<u32>(a, 20);
  const scale = <usize>load<u32>(a, 24);
  const offset = <usize>load<u32>(a, 28);
  const first = item << 6;
  let out = <usize>load<u32>(a, 32) + ((<usize>first * k) << 2);
  for (let r = first, end = min(first + 64, rows); r < end; r++) {
    const row = x + <usize>r * rowBytes;
    for (let c: usize = 0; c < k; c++) {
      store<f32>(out, loadValue(dtype, row, <usize>load<u32>(columns + (c << 2)), scale, offset));
      out += 4;
    }
  }
}
