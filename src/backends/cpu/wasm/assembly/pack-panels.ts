/** Listed rows of neighbouring columns as panels [rows][4] of f32, shifted and scaled, with the spread of what is in them. */
import { F16, F32, loadCodes, loadHalves, loadValue, U8 } from "./storage";
import { mulAdd } from "./vector";

/** Rows of an item: an item holds rows of one class. */
const ITEM_ROWS: i32 = 1024;

/**
 * Item: 1024 negative rows, or 1024 positive rows, which start an item of their own. A panel holds (x − pivot)·factor of four
 * columns, row by row in the order of the list; columns beyond the last are zero.
 *
 * Words: 0 x at the first column, 1 storage type, 2 bytes of a row of x, 3 list of rows u32 (negatives first), 4 negatives,
 * 5 positives, 6 columns, 7 pivot, 8 factor, 9 scale, 10 offset (u8 only), all f32[columns, padded to 4], 11 panels, 12 bytes
 * of a panel, 13 spread f32[items × 2 × padded columns]: the largest |value| of the item, and the sum of squares; only the sum
 * notices a NaN.
 */
export function packPanels(item: i32, a: usize, thread: i32): void {
  const x = <usize>load<u32>(a);
  const dtype = load<i32>(a, 4);
  const rowBytes = <usize>load<u32>(a, 8);
  const list = <usize>load<u32>(a, 12);
  const negatives = load<i32>(a, 16);
  const rows = negatives + load<i32>(a, 20);
  const columns = load<i32>(a, 24);
  const panelBytes = <usize>load<u32>(a, 48);
  const padded = (<usize>columns + 3) & ~3;
  const largest = <usize>load<u32>(a, 52) + (((<usize>item << 1) * padded) << 2);
  const squares = largest + (padded << 2);
  const ofNegatives = (negatives + ITEM_ROWS - 1) / ITEM_ROWS;
  const second = item >= ofNegatives;
  const first = second ? negatives + (item - ofNegatives) * ITEM_ROWS : item * ITEM_ROWS;
  const end = min(first + ITEM_ROWS, second ? rows : negatives);
  memory.fill(largest, 0, padded << 3);
  const panels = <usize>load<u32>(a, 44);
  if (dtype == F32) {
    packRows(F32, x, rowBytes, list, first, end, columns, a, panels, panelBytes, largest, squares);
  } else if (dtype == F16) {
    packRows(F16, x, rowBytes, list, first, end, columns, a, panels, panelBytes, largest, squares);
  } else packRows(U8, x, rowBytes, list, first, end, columns, a, panels, panelBytes, largest, squares);
}

/** Rows [first, end) of the list, four at a time: they are a whole cache line of each panel. */
@inline
function packRows(
  dtype: i32, x: usize, rowBytes: usize, list: usize, first: i32, end: i32, columns: i32, a: usize,
  panels: usize, panelBytes: usize, largest: usize, squares: usize,
): void {
  for (let r = first; r < end; r += 4) {
    const count = end - r;
    const rows = list + (<usize>r << 2);
    const p0 = x + <usize>load<u32>(rows) * rowBytes;
    // A row that does not exist is the first one again, and is not written.
    const p1 = count > 1 ? x + <usize>load<u32>(rows, 4) * rowBytes : p0;
    const p2 = count > 2 ? x + <usize>load<u32>(rows, 8) * rowBytes : p0;
    const p3 = count > 3 ? x + <usize>load<u32>(rows, 12) * rowBytes : p0;
    let out = panels + (<usize>r << 4);
    for (let c: i32 = 0; c < columns; c += 4, out += panelBytes) {
      const at = <usize>c << 2;
      const v0 = fourOf(dtype, p0, c, columns, a);
      const v1 = fourOf(dtype, p1, c, columns, a);
      const v2 = fourOf(dtype, p2, c, columns, a);
      const v3 = fourOf(dtype, p3, c, columns, a);
      v128.store(out, v0);
      let most = f32x4.abs(v0);
      let sum = f32x4.mul(v0, v0);
      if (count > 1) {
        v128.store(out, v1, 16);
        most = f32x4.pmax(most, f32x4.abs(v1));
        sum = mulAdd(v1, v1, sum);
      }
      if (count > 2) {
        v128.store(out, v2, 32);
        most = f32x4.pmax(most, f32x4.abs(v2));
        sum = mulAdd(v2, v2, sum);
      }
      if (count > 3) {
        v128.store(out, v3, 48);
        most = f32x4.pmax(most, f32x4.abs(v3));
        sum = mulAdd(v3, v3, sum);
      }
      v128.store(largest + at, f32x4.pmax(v128.load(largest + at), most));
      v128.store(squares + at, f32x4.add(v128.load(squares + at), sum));
    }
  }
}

/** Four columns of a row, shifted and scaled. */
@inline
function fourOf(dtype: i32, row: usize, c: i32, columns: i32, a: usize): v128 {
  const at = <usize>c << 2;
  let v: v128;
  if (c + 4 > columns) v = lastOf(dtype, row, c, columns, a);
  else if (dtype == F32) v = v128.load(row + at);
  else if (dtype == F16) v = loadHalves(row + (<usize>c << 1));
  else {
    v = f32x4.mul(v128.load(<usize>load<u32>(a, 36) + at), loadCodes(row + <usize>c));
    v = f32x4.add(v, v128.load(<usize>load<u32>(a, 40) + at));
  }
  v = f32x4.sub(v, v128.load(<usize>load<u32>(a, 28) + at));
  return f32x4.mul(v, v128.load(<usize>load<u32>(a, 32) + at));
}

/** Up to three values before the end of a row. */
function lastOf(dtype: i32, row: usize, c: i32, columns: i32, a: usize): v128 {
  const scale = <usize>load<u32>(a, 36), offset = <usize>load<u32>(a, 40);
  let v = f32x4.splat(loadValue(dtype, row, c, scale, offset));
  if (c + 1 < columns) v = f32x4.replace_lane(v, 1, loadValue(dtype, row, c + 1, scale, offset));
  if (c + 2 < columns) v = f32x4.replace_lane(v, 2, loadValue(dtype, row, c + 2, scale, offset));
  return v;
}
