/**
 * What the L1 solver asks of the data: sums over the rows, without C and without a penalty. Parameters on the gathered
 * columns are θ = (w, b), the intercept last; x̃ = (x − center)/scale.
 */
import type { Activations } from "../../../data/activations.ts";
import type { Pacer } from "../pacer.ts";
import { gatherAsColumns } from "./gather-columns.ts";
import { logisticLossOfMargin } from "./logistic-loss.ts";

export interface L1Sums {
  /** Σ ω·loss. */
  readonly loss: number;
  /** Its gradient by θ [k + 1]. */
  readonly gradient: Float64Array;
  /** Its second derivative by the intercept. */
  readonly curvature: number;
}

export interface L1Design {
  /** All columns, d. */
  readonly columns: number;
  /** ω by labelled row, negative for positive rows. */
  readonly signedWeights: Float64Array;
  /** Makes these columns, in this order, the ones that θ stands for. */
  gather(columns: Uint32Array): Promise<void>;
  /** Sums at θ, in float64. */
  evaluate(theta: Float64Array): Promise<L1Sums>;
  /** Lower triangle of Σ ω·loss's Hessian [(k + 1) × (k + 1)] where {@link evaluate} was called last; may be float32. */
  hessian(): Promise<Float64Array>;
  /** Derivative of each row's ω·loss by its decision value, where {@link evaluate} was called last. */
  residuals(): Float64Array;
  /** X̃ᵀ·residuals, every column [d]; NaN for one that is not finite. `exact`: in float64. */
  correlations(exact: boolean): Promise<Float64Array>;
}

/** Plain float64 loops over gathered columns. */
export class ReferenceL1Design implements L1Design {
  readonly columns: number;
  readonly signedWeights: Float64Array;
  readonly #x: Activations;
  readonly #rows: Uint32Array;
  readonly #center: Float64Array;
  readonly #scale: Float64Array;
  readonly #pacer: Pacer;
  readonly #residuals: Float64Array;
  readonly #curvature: Float64Array;
  #gathered: Float64Array[] = [];

  constructor(
    x: Activations,
    rows: Uint32Array,
    signedWeights: Float64Array,
    center: Float64Array,
    scale: Float64Array,
    pacer: Pacer,
  ) {
    this.columns = x.neurons;
    this.signedWeights = signedWeights;
    this.#x = x;
    this.#rows = rows;
    this.#center = center;
    this.#scale = scale;
    this.#pacer = pacer;
    this.#residuals = new Float64Array(rows.length);
    this.#curvature = new Float64Array(rows.length);
  }

  async gather(columns: Uint32Array): Promise<void> {
    this.#gathered = await this.#columns(columns);
  }

  async evaluate(theta: Float64Array): Promise<L1Sums> {
    const k = this.#gathered.length;
    const z = new Float64Array(this.#rows.length).fill(theta[k]);
    for (const [j, column] of this.#gathered.entries()) {
      if (theta[j] !== 0) for (let i = 0; i < z.length; i++) z[i] += theta[j] * column[i];
      if (this.#pacer.due) await this.#pacer.turn();
    }
    let loss = 0;
    let curvature = 0;
    for (let i = 0; i < z.length; i++) {
      const a = this.signedWeights[i];
      const weight = Math.abs(a);
      const margin = a < 0 ? z[i] : -z[i];
      const miss = 1 / (1 + Math.exp(margin));
      loss += weight * logisticLossOfMargin(margin);
      this.#residuals[i] = a * miss;
      this.#curvature[i] = (weight * miss) / (1 + Math.exp(-margin));
      curvature += this.#curvature[i];
    }
    const gradient = new Float64Array(k + 1);
    for (const [j, column] of this.#gathered.entries()) {
      gradient[j] = dot(column, this.#residuals);
      if (this.#pacer.due) await this.#pacer.turn();
    }
    gradient[k] = this.#residuals.reduce((sum, r) => sum + r, 0);
    return { loss, gradient, curvature };
  }

  async hessian(): Promise<Float64Array> {
    const ones = new Float64Array(this.#rows.length).fill(1);
    const columns = [...this.#gathered, ones];
    const m = columns.length;
    const out = new Float64Array(m * m);
    for (let r = 0; r < m; r++) {
      const weighted = columns[r].map((value, i) => value * this.#curvature[i]);
      for (let c = 0; c <= r; c++) out[r * m + c] = dot(weighted, columns[c]);
      if (this.#pacer.due) await this.#pacer.turn();
    }
    return out;
  }

  residuals(): Float64Array {
    return this.#residuals;
  }

  async correlations(): Promise<Float64Array> {
    const out = new Float64Array(this.columns);
    const width = 64;
    for (let start = 0; start < this.columns; start += width) {
      const count = Math.min(width, this.columns - start);
      const part = await this.#columns(Uint32Array.from({ length: count }, (_, j) => start + j));
      for (const [j, column] of part.entries()) out[start + j] = dot(column, this.#residuals);
    }
    return out;
  }

  /** Centred and scaled. */
  async #columns(columns: Uint32Array): Promise<Float64Array[]> {
    const raw = await gatherAsColumns(this.#x, columns, this.#rows, this.#pacer);
    return raw.map((column, at) => {
      const [center, scale] = [this.#center[columns[at]], this.#scale[columns[at]]];
      return Float64Array.from(column, (value) => (value - center) / scale);
    });
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
