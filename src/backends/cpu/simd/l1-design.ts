/** {@link L1Design} on the SIMD kernels: the working set lies in panels, all columns are read where they are. */
import type { Activations } from "../../../data/activations.ts";
import type { L1Design, L1Sums } from "../reference/l1-design.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { DensePass } from "./dense-pass.ts";
import { BLOCK_ROWS, gatherPanels, PANEL, panelGram, type Panels } from "./panels.ts";

/** Numbers before the gradient in an item's sums (assembly/logistic-row.ts). */
const HEAD = 4;

export class KernelL1Design implements L1Design {
  readonly columns: number;
  readonly signedWeights: Float64Array;
  readonly #pool: KernelPool;
  readonly #x: Activations;
  readonly #list: Uint32Array;
  readonly #center: Float64Array;
  readonly #scale: Float64Array;
  readonly #signal: AbortSignal | undefined;
  readonly #pass: DensePass;
  readonly #scope: Scope;
  readonly #signed: number;
  readonly #residuals: number;
  readonly #curvatures: number;
  readonly #scratch: number;
  /** What belongs to the working set. */
  #gathered: { scope: Scope; panels: Panels; factors: number; sums: number } | undefined;

  /** @param list labelled rows */
  constructor(
    pool: KernelPool,
    x: Activations,
    list: Uint32Array,
    signedWeights: Float64Array,
    center: Float64Array,
    scale: Float64Array,
    signal?: AbortSignal,
  ) {
    const n = list.length;
    this.columns = x.neurons;
    this.signedWeights = signedWeights;
    this.#pool = pool;
    this.#x = x;
    this.#list = list;
    this.#center = center;
    this.#scale = scale;
    this.#signal = signal;
    this.#pass = new DensePass(pool, x, list);
    const scope = new Scope(pool.memory);
    this.#scope = scope;
    this.#signed = scope.copyOf(signedWeights);
    this.#residuals = scope.zeros(8 * n);
    this.#curvatures = scope.zeros(8 * n);
    this.#scratch = scope.allocate(pool.threads * 8 * BLOCK_ROWS);
  }

  async gather(columns: Uint32Array): Promise<void> {
    const before = this.#gathered;
    const scope = new Scope(this.#pool.memory);
    try {
      const panels = await gatherPanels(
        this.#pool,
        scope,
        this.#x,
        this.#list,
        columns,
        before?.panels,
        this.#signal,
      );
      const items = Math.ceil(panels.rows / BLOCK_ROWS);
      const factors = scope.allocate(8 * PANEL * panels.count);
      const sums = scope.allocate(8 * items * (HEAD + PANEL * panels.count));
      this.#gathered = { scope, panels, factors, sums };
      before?.scope.close();
    } catch (error) {
      scope.close();
      throw error;
    }
  }

  async evaluate(theta: Float64Array): Promise<L1Sums> {
    const { panels, factors, sums } = this.#gathered!;
    const { columns } = panels;
    const { memory } = this.#pool;
    const k = columns.length;
    const width = PANEL * panels.count;
    const f = memory.f64(factors, width).fill(0);
    f[0] = theta[k];
    for (const [at, j] of columns.entries()) {
      if (theta[at] === 0) continue;
      f[at + 1] = theta[at] / this.#scale[j];
      f[0] -= f[at + 1] * this.#center[j];
    }
    const items = Math.ceil(panels.rows / BLOCK_ROWS);
    await this.#pool.run(
      "panelSums",
      items,
      [
        panels.at,
        panels.count,
        panels.rows,
        factors,
        this.#signed,
        this.#residuals,
        this.#curvatures,
        sums,
        this.#scratch,
      ],
      { signal: this.#signal, operations: 4 * panels.rows * width },
    );
    const stride = HEAD + width;
    const parts = memory.f64(sums, items * stride);
    const products = new Float64Array(width);
    let loss = 0;
    let curvature = 0;
    for (let item = 0; item < items; item++) {
      const at = item * stride;
      loss += parts[at + 1];
      curvature += parts[at + 3];
      for (let c = 0; c < width; c++) products[c] += parts[at + HEAD + c];
    }
    const gradient = new Float64Array(k + 1);
    gradient[k] = products[0];
    for (const [at, j] of columns.entries()) {
      gradient[at] = (products[at + 1] - this.#center[j] * products[0]) / this.#scale[j];
    }
    return { loss, gradient, curvature };
  }

  async hessian(): Promise<Float64Array> {
    const { panels } = this.#gathered!;
    const { columns } = panels;
    const k = columns.length;
    const m = k + 1;
    const size = PANEL * panels.count;
    const center = new Float32Array(size);
    for (const [at, j] of columns.entries()) center[at + 1] = this.#center[j];
    const scope = new Scope(this.#pool.memory);
    try {
      const gram = await panelGram(this.#pool, scope, panels, this.#curvatures, center, this.#signal);
      const out = new Float64Array(m * m);
      // The kernel subtracts the centre on one side; with Σd·(x_r − center_r) it is done on the other.
      for (let r = 0; r < k; r++) {
        const row = (r + 1) * size;
        const first = gram[row];
        const scale = this.#scale[columns[r]];
        for (let c = 0; c <= r; c++) {
          out[r * m + c] = (gram[row + c + 1] - center[c + 1] * first) / (scale * this.#scale[columns[c]]);
        }
        out[k * m + r] = first / scale;
      }
      out[k * m + k] = gram[0];
      return out;
    } finally {
      scope.close();
    }
  }

  residuals(): Float64Array {
    return this.#pool.memory.f64(this.#residuals, this.#list.length);
  }

  async correlations(exact: boolean): Promise<Float64Array> {
    const factors = new Float64Array(this.columns);
    const { products, total } = await this.#pass.run(
      "given",
      this.#residuals,
      factors,
      0,
      exact,
      this.#signal,
    );
    return products.map((sum, j) => (sum - this.#center[j] * total) / this.#scale[j]);
  }

  close(): void {
    this.#gathered?.scope.close();
    this.#scope.close();
    this.#pass.close();
  }
}
