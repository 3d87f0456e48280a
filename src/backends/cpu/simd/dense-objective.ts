/** {@link WideObjective} on the SIMD kernels. */
import type { Activations } from "../../../data/activations.ts";
import type { WideObjective } from "../reference/wide-objective.ts";
import { Scope } from "../wasm/kernel-memory.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { DensePass, type PassSums } from "./dense-pass.ts";

export class DenseObjective implements WideObjective {
  readonly columns: number;
  readonly rows: number;
  readonly totalWeight: number;
  meanCurvature = 0.25;
  separated = false;
  readonly #pass: DensePass;
  readonly #scope: Scope;
  readonly #signedWeights: number;
  readonly #center: Float64Array;
  readonly #inverseScale: Float64Array;
  readonly #order: Uint32Array | undefined;
  readonly #signal: AbortSignal | undefined;

  /**
   * @param list labelled rows
   * @param signedWeights C·ω by labelled row, negative for positive rows
   * @param center subtracted from each coefficient's column, which `scale` then divides
   * @param order column of x of each coefficient; absent: its own place
   */
  constructor(
    pool: KernelPool,
    x: Activations,
    list: Uint32Array,
    signedWeights: Float64Array,
    center: Float64Array,
    scale: Float64Array,
    order?: Uint32Array,
    signal?: AbortSignal,
  ) {
    this.columns = x.neurons;
    this.rows = list.length;
    this.totalWeight = signedWeights.reduce((sum, a) => sum + Math.abs(a), 0);
    this.#center = center;
    this.#inverseScale = scale.map((s) => 1 / s);
    this.#order = order;
    this.#signal = signal;
    this.#pass = new DensePass(pool, x, list);
    this.#scope = new Scope(pool.memory);
    this.#signedWeights = this.#scope.copyOf(signedWeights);
  }

  async evaluate(theta: Float64Array, gradient: Float64Array, exact: boolean): Promise<number> {
    const sums = await this.#run("residual", this.#signedWeights, theta, exact, gradient);
    this.separated = sums.margin > 0;
    this.meanCurvature = sums.curvature / this.totalWeight;
    let penalty = 0;
    for (let j = 0; j < this.columns; j++) {
      gradient[j] += theta[j];
      penalty += theta[j] * theta[j];
    }
    return sums.loss + penalty / 2;
  }

  async hessianProduct(v: Float64Array, out: Float64Array): Promise<void> {
    await this.#run("product", this.#pass.curvature, v, false, out);
    for (let j = 0; j < this.columns; j++) out[j] += v[j];
  }

  close(): void {
    this.#scope.close();
    this.#pass.close();
  }

  /** out = (X̃ᵀu, Σu) for what follows, u, from X̃·v + v_b. */
  async #run(
    followUp: "residual" | "product",
    byRow: number,
    v: Float64Array,
    exact: boolean,
    out: Float64Array,
  ): Promise<PassSums> {
    const k = this.columns;
    const order = this.#order;
    const factors = new Float64Array(k);
    let shift = v[k];
    for (let j = 0; j < k; j++) {
      const factor = v[j] * this.#inverseScale[j];
      factors[order ? order[j] : j] = factor;
      shift -= factor * this.#center[j];
    }
    const sums = await this.#pass.run(followUp, byRow, factors, shift, exact, this.#signal);
    const { products, total } = sums;
    for (let j = 0; j < k; j++) {
      out[j] = (products[order ? order[j] : j] - this.#center[j] * total) * this.#inverseScale[j];
    }
    out[k] = total;
    return sums;
  }
}
