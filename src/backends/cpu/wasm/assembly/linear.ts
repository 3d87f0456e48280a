/**
 * y = x·W + bias on packed weights. W [k × n] is stored in panels of 8 columns: panel p holds, for every k, the eight
 * values W[k][8p .. 8p+8), zero beyond n. A tile of 6 rows × 8 columns keeps its 12 accumulators in registers.
 */
import { mulAdd } from "./vector";

const ROWS: i32 = 6;
const PANEL: i32 = 8;
/** Inner dimension of one pass: 512 × 8 weights are 16 KiB, which stay in the first-level cache. */
const DEPTH: i32 = 512;
/** Bytes of x that are reused for every panel: they stay in the second-level cache. */
const CHUNK: i32 = 131072;

/** Six rows × eight columns over `depth` terms; adds to y when `add`, else starts from the bias. */
function tile(
  x0: usize, x1: usize, x2: usize, x3: usize, x4: usize, x5: usize,
  w: usize, depth: i32, add: bool, bias: usize,
  y0: usize, y1: usize, y2: usize, y3: usize, y4: usize, y5: usize,
): void {
  let a0: v128, b0: v128, a1: v128, b1: v128, a2: v128, b2: v128;
  let a3: v128, b3: v128, a4: v128, b4: v128, a5: v128, b5: v128;
  if (add) {
    a0 = v128.load(y0); b0 = v128.load(y0, 16);
    a1 = v128.load(y1); b1 = v128.load(y1, 16);
    a2 = v128.load(y2); b2 = v128.load(y2, 16);
    a3 = v128.load(y3); b3 = v128.load(y3, 16);
    a4 = v128.load(y4); b4 = v128.load(y4, 16);
    a5 = v128.load(y5); b5 = v128.load(y5, 16);
  } else {
    a0 = v128.load(bias); b0 = v128.load(bias, 16);
    a1 = a0; b1 = b0;
    a2 = a0; b2 = b0;
    a3 = a0; b3 = b0;
    a4 = a0; b4 = b0;
    a5 = a0; b5 = b0;
  }
  let p: v128, q: v128, s: v128;
  const unrolled = w + ((<usize>(depth & ~3)) << 5);
  while (w < unrolled) {
    p = v128.load(w); q = v128.load(w, 16);
    s = v128.load32_splat(x0); a0 = mulAdd(s, p, a0); b0 = mulAdd(s, q, b0);
    s = v128.load32_splat(x1); a1 = mulAdd(s, p, a1); b1 = mulAdd(s, q, b1);
    s = v128.load32_splat(x2); a2 = mulAdd(s, p, a2); b2 = mulAdd(s, q, b2);
    s = v128.load32_splat(x3); a3 = mulAdd(s, p, a3); b3 = mulAdd(s, q, b3);
    s = v128.load32_splat(x4); a4 = mulAdd(s, p, a4); b4 = mulAdd(s, q, b4);
    s = v128.load32_splat(x5); a5 = mulAdd(s, p, a5); b5 = mulAdd(s, q, b5);
    p = v128.load(w, 32); q = v128.load(w, 48);
    s = v128.load32_splat(x0, 4); a0 = mulAdd(s, p, a0); b0 = mulAdd(s, q, b0);
    s = v128.load32_splat(x1, 4); a1 = mulAdd(s, p, a1); b1 = mulAdd(s, q, b1);
    s = v128.load32_splat(x2, 4); a2 = mulAdd(s, p, a2); b2 = mulAdd(s, q, b2);
    s = v128.load32_splat(x3, 4); a3 = mulAdd(s, p, a3); b3 = mulAdd(s, q, b3);
    s = v128.load32_splat(x4, 4); a4 = mulAdd(s, p, a4); b4 = mulAdd(s, q, b4);
    s = v128.load32_splat(x5, 4); a5 = mulAdd(s, p, a5); b5 = mulAdd(s, q, b5);
    p = v128.load(w, 64); q = v128.load(w, 80);
    s = v128.load32_splat(x0, 8); a0 = mulAdd(s, p, a0); b0 = mulAdd(s, q, b0);
    s = v128.load32_splat(x1, 8); a1 = mulAdd(s, p, a1); b1 = mulAdd(s, q, b1);
    s = v128.load32_splat(x2, 8); a2 = mulAdd(s, p, a2); b2 = mulAdd(s, q, b2);
    s = v128.load32_splat(x3, 8); a3 = mulAdd(s, p, a3); b3 = mulAdd(s, q, b3);
    s = v128.load32_splat(x4, 8); a4 = mulAdd(s, p, a4); b4 = mulAdd(s, q, b4);
    s = v128.load32_splat(x5, 8); a5 = mulAdd(s, p, a5); b5 = mulAdd(s, q, b5);
    p = v128.load(w, 96); q = v128.load(w, 112);
    s = v128.load32_splat(x0, 12); a0 = mulAdd(s, p, a0); b0 = mulAdd(s, q, b0);
    s = v128.load32_splat(x1, 12); a1 = mulAdd(s, p, a1); b1 = mulAdd(s, q, b1);
    s = v128.load32_splat(x2, 12); a2 = mulAdd(s, p, a2); b2 = mulAdd(s, q, b2);
    s = v128.load32_splat(x3, 12); a3 = mulAdd(s, p, a3); b3 = mulAdd(s, q, b3);
    s = v128.load32_splat(x4, 12); a4 = mulAdd(s, p, a4); b4 = mulAdd(s, q, b4);
    s = v128.load32_splat(x5, 12); a5 = mulAdd(s, p, a5); b5 = mulAdd(s, q, b5);
    w += 128;
    x0 += 16; x1 += 16; x2 += 16; x3 += 16; x4 += 16; x5 += 16;
  }
  for (let i = depth & 3; i > 0; i--) {
    p = v128.load(w); q = v128.load(w, 16);
    s = v128.load32_splat(x0); a0 = mulAdd(s, p, a0); b0 = mulAdd(s, q, b0);
    s = v128.load32_splat(x1); a1 = mulAdd(s, p, a1); b1 = mulAdd(s, q, b1);
    s = v128.load32_splat(x2); a2 = mulAdd(s, p, a2); b2 = mulAdd(s, q, b2);
    s = v128.load32_splat(x3); a3 = mulAdd(s, p, a3); b3 = mulAdd(s, q, b3);
    s = v128.load32_splat(x4); a4 = mulAdd(s, p, a4); b4 = mulAdd(s, q, b4);
    s = v128.load32_splat(x5); a5 = mulAdd(s, p, a5); b5 = mulAdd(s, q, b5);
    w += 32;
    x0 += 4; x1 += 4; x2 += 4; x3 += 4; x4 += 4; x5 += 4;
  }
  v128.store(y0, a0); v128.store(y0, b0, 16);
  v128.store(y1, a1); v128.store(y1, b1, 16);
  v128.store(y2, a2); v128.store(y2, b2, 16);
  v128.store(y3, a3); v128.store(y3, b3, 16);
  v128.store(y4, a4); v128.store(y4, b4, 16);
  v128.store(y5, a5); v128.store(y5, b5, 16);
}

/**
 * y[rows × n] = x[rows × k]·W + bias.
 *
 * @param xStride floats from a row of x to the next; yStride likewise
 * @param panelDepth rows of W in a packed panel (k, or more when only the first k are used)
 * @param bias ⌈n/8⌉·8 floats
 * @param edge 6 × 8 floats of scratch for a last panel with fewer than 8 columns
 */
export function linear(
  x: usize, xStride: i32, w: usize, panelDepth: i32, bias: usize,
  y: usize, yStride: i32, rows: i32, k: i32, n: i32, edge: usize,
): void {
  const sx = <usize>xStride << 2;
  const sy = <usize>yStride << 2;
  const panels = (n + PANEL - 1) / PANEL;
  const whole = n / PANEL;
  for (let d: i32 = 0; d < k; d += DEPTH) {
    const depth = min(DEPTH, k - d);
    const chunk = max(1, CHUNK / (depth * 4 * ROWS)) * ROWS;
    for (let start: i32 = 0; start < rows; start += chunk) {
      const end = min(rows, start + chunk);
      for (let p: i32 = 0; p < panels; p++) {
        const partial = p >= whole;
        // The last, narrow panel is computed once, over the whole depth, because its sums live in scratch.
        if (partial && d > 0) continue;
        const panel = w + ((<usize>p * <usize>panelDepth + <usize>d) << 5);
        const b = bias + (<usize>p << 5);
        for (let r = start; r < end; r += ROWS) {
          // Rows beyond the end repeat the last row: the same values are stored twice.
          const last = <usize>(min(ROWS, end - r) - 1);
          const x0 = x + <usize>r * sx + (<usize>d << 2);
          const y0 = y + <usize>r * sy + (<usize>p << 5);
          const i1 = min(<usize>1, last), i2 = min(<usize>2, last), i3 = min(<usize>3, last);
          const i4 = min(<usize>4, last), i5 = min(<usize>5, last);
          if (!partial) {
            tile(
              x0, x0 + i1 * sx, x0 + i2 * sx, x0 + i3 * sx, x0 + i4 * sx, x0 + i5 * sx,
              panel, depth, d > 0, b,
              y0, y0 + i1 * sy, y0 + i2 * sy, y0 + i3 * sy, y0 + i4 * sy, y0 + i5 * sy,
            );
          } else {
            tile(
              x0, x0 + i1 * sx, x0 + i2 * sx, x0 + i3 * sx, x0 + i4 * sx, x0 + i5 * sx,
              panel, k, false, b,
              edge, edge + 32, edge + 64, edge + 96, edge + 128, edge + 160,
            );
            const bytes = <usize>(n - p * PANEL) << 2;
            for (let i: usize = 0; i <= last; i++) memory.copy(y0 + i * sy, edge + (i << 5), bytes);
          }
        }
      }
    }
  }
}
