/**
 * The objective of a probe on so many columns that no matrix of k² numbers can be had: values, gradients and products with
 * the Hessian, one pass over the rows each. It is that of {@link LogisticLoss}; θ = (w, b), the intercept last.
 */
import type { Pacer } from "../pacer.ts";
import type { LogisticLoss } from "./logistic-loss.ts";

/** Columns from which a problem is fitted without its Hessian, which would have 2 MiB and more. */
const WIDE = 513;

/** Values of a problem's columns, 1 GiB in float32, from which they are read where they lie instead of gathered. */
const TOO_MANY_VALUES = 2 ** 28;

/** Whether a problem of k columns and this many rows is fitted by passes over the matrix, without a Hessian of its columns. */
export function isWide(k: number, rows: number): boolean {
  return k >= WIDE || k * rows >= TOO_MANY_VALUES;
}

export interface WideObjective {
  /** k, without the intercept. */
  readonly columns: number;
  /** Terms of a sum over rows, for what rounding may do to it. */
  readonly rows: number;
  /** C·Σω. */
  readonly totalWeight: number;
  /** The value at θ; writes the gradient [k + 1]. `exact`: sums in float64; else they may be in float32. */
  evaluate(theta: Float64Array, gradient: Float64Array, exact: boolean): Promise<number>;
  /** Product of v [k + 1] and the Hessian where {@link evaluate} was called last; sums may be in float32. */
  hessianProduct(v: Float64Array, out: Float64Array): Promise<void>;
  /** Σ of the rows' curvatures over {@link totalWeight}, at most ¼, where {@link evaluate} was called last. */
  readonly meanCurvature: number;
  /** Every weighted row lies strictly on its side, where {@link evaluate} was called last. */
  readonly separated: boolean;
}

/** {@link LogisticLoss} in float64 as a wide objective. */
export class ReferenceWideObjective implements WideObjective {
  readonly columns: number;
  readonly rows: number;
  readonly totalWeight: number;
  meanCurvature = 0.25;
  separated = false;
  readonly #loss: LogisticLoss;
  readonly #pacer: Pacer;
  #curvature: Float64Array = new Float64Array();

  constructor(loss: LogisticLoss, pacer: Pacer) {
    this.columns = loss.columns;
    this.rows = loss.rows;
    this.totalWeight = loss.totalWeight;
    this.#loss = loss;
    this.#pacer = pacer;
  }

  async evaluate(theta: Float64Array, gradient: Float64Array): Promise<number> {
    const z = this.#loss.decision(theta);
    if (this.#pacer.due) await this.#pacer.turn();
    this.#curvature = this.#loss.curvature(z);
    this.meanCurvature = this.#curvature.reduce((sum, c) => sum + c, 0) / this.totalWeight;
    this.separated = this.#loss.separates(z);
    this.#loss.gradient(theta, z, gradient);
    if (this.#pacer.due) await this.#pacer.turn();
    return this.#loss.value(theta, z);
  }

  async hessianProduct(v: Float64Array, out: Float64Array): Promise<void> {
    this.#loss.hessianProduct(this.#curvature, v, out);
    if (this.#pacer.due) await this.#pacer.turn();
  }
}
