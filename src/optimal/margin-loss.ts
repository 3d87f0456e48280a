/**
 * The two losses as functions of margins z = y·(x·β + b), with what a Newton step and a dual bound need of them: the slope
 * λ = −ℓ′(z), which lies in [0, 1], the curvature ℓ″, and the conjugate term of the dual.
 *
 * logistic: ℓ = log(1 + e^−z), dual term −λ·log λ − (1 − λ)·log(1 − λ).
 * hinge: ℓ = max(0, 1 − z), dual term λ. It has no curvature, so steps see it rounded off over a width μ about a guess λ⁰,
 * ℓ_μ(z) = max over λ in [0, 1] of λ·(1 − z) − μ·(λ − λ⁰)²/2, while values and dual terms stay those of the hinge itself. With
 * λ⁰ moved to λ again and again this is the method of multipliers (Rockafellar 1976): exact at any width.
 */

export type OptimalLoss = "logistic" | "hinge";

/** How steps see a loss that does not bend. */
export interface Rounding {
  width: number;
  /** λ⁰ by row. */
  readonly centre: Float64Array;
}

export interface MarginLoss {
  /** Steps see the loss rounded off. */
  readonly rounded: boolean;
  /** Fills slope λ and curvature by row, for the loss as it is rounded off; returns its sum Σ ω·ℓ_μ(z). */
  derivatives(
    z: Float64Array,
    weights: Float64Array,
    rounding: Rounding,
    slope: Float64Array,
    curvature: Float64Array,
  ): number;
  /** Σ ω·ℓ(z), not rounded off. */
  value(z: Float64Array, weights: Float64Array): number;
  /** Σ ω·(dual term of λ), not rounded off. */
  dualValue(slope: Float64Array, weights: Float64Array): number;
}

const LOGISTIC: MarginLoss = {
  rounded: false,
  derivatives(z, weights, _rounding, slope, curvature) {
    let sum = 0;
    for (let i = 0; i < z.length; i++) {
      const t = z[i];
      const e = Math.exp(t > 0 ? -t : t);
      const p = 1 / (1 + e);
      const q = e * p;
      slope[i] = t > 0 ? q : p;
      curvature[i] = p * q;
      sum += weights[i] * ((t > 0 ? 0 : -t) + Math.log1p(e));
    }
    return sum;
  },
  value(z, weights) {
    let sum = 0;
    for (let i = 0; i < z.length; i++) {
      const t = z[i];
      sum += weights[i] * (t > 0 ? Math.log1p(Math.exp(-t)) : Math.log1p(Math.exp(t)) - t);
    }
    return sum;
  },
  dualValue(slope, weights) {
    let sum = 0;
    for (let i = 0; i < slope.length; i++) {
      const t = slope[i];
      if (t <= 0 || t >= 1) continue;
      sum -= weights[i] * (t * Math.log(t) + (1 - t) * Math.log1p(-t));
    }
    return sum;
  },
};

const HINGE: MarginLoss = {
  rounded: true,
  derivatives(z, weights, { width, centre }, slope, curvature) {
    const inverse = 1 / width;
    let sum = 0;
    for (let i = 0; i < z.length; i++) {
      const short = 1 - z[i];
      const about = centre[i];
      const free = about + short * inverse;
      const bends = free > 0 && free < 1;
      const t = bends ? free : free > 0 ? 1 : 0;
      slope[i] = t;
      curvature[i] = bends ? inverse : 0;
      sum += weights[i] * (t * short - 0.5 * width * (t - about) * (t - about));
    }
    return sum;
  },
  value(z, weights) {
    let sum = 0;
    for (let i = 0; i < z.length; i++) if (z[i] < 1) sum += weights[i] * (1 - z[i]);
    return sum;
  },
  dualValue(slope, weights) {
    let sum = 0;
    for (let i = 0; i < slope.length; i++) sum += weights[i] * slope[i];
    return sum;
  },
};

export const MARGIN_LOSSES: Readonly<Record<OptimalLoss, MarginLoss>> = Object.freeze({
  logistic: LOGISTIC,
  hinge: HINGE,
});
