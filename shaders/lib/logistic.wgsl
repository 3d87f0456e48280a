// A batch of logistic problems that advance in lock-step.
//
//   f(w, b) = Σ_i W_i·log(1 + exp(−s_i·(w·x̃_i + b))) + ½|w|²,   x̃_ij = (x_ij − center_j)·inverse_scale_j
//
// with W_i = C·ω of row i's class. Parameters are k weights, then the intercept, at a stride common to the batch.

// A trial point waits to be evaluated.
const TRIAL: u32 = 0u;
// The point was accepted: derivatives at it are wanted.
const ACCEPTED: u32 = 1u;
// Nothing is left to do in float32.
const FINISHED: u32 = 2u;

struct Problem {
  // k: weights, without the intercept.
  columns: u32,
  // Index of its first entry in support.
  support: u32,
  // Index of its first word in labels.
  labels: u32,
  status: u32,
  // Newton steps accepted.
  iterations: u32,
  // Times that the step in hand was halved.
  halvings: u32,
  // C·ω of rows of either class.
  weight_negative: f32,
  weight_positive: f32,
  // f at the accepted point.
  objective: f32,
  // Share of the step that the trial point takes.
  step_length: f32,
  // Decrease that the full step promises to first order: gᵀH⁻¹g.
  slope: f32,
  // slope/(2·C·Σω).
  decrement: f32,
}

struct SupportColumn {
  // Index of the column in the pool.
  column: u32,
  center: f32,
  inverse_scale: f32,
}

/// log(1 + e) for e in [0, 1], to a relative 2⁻²¹: 2·atanh(e/(2 + e)) by its series, truncated at 2⁻²⁶. WGSL's own log may
/// be off by 2⁻²¹ absolute near 1, and 1 + e rounds e away: both are large beside the loss of a well-classified row.
fn log_one_plus(e: f32) -> f32 {
  let s = e / (2.0 + e);
  let t = s * s;
  var sum = fma(t, 1.0 / 13.0, 1.0 / 11.0);
  sum = fma(t, sum, 1.0 / 9.0);
  sum = fma(t, sum, 1.0 / 7.0);
  sum = fma(t, sum, 1.0 / 5.0);
  sum = fma(t, sum, 1.0 / 3.0);
  return 2.0 * fma(s * t, sum, s);
}

/// The label of a row, one byte each: 1 positive, 0 negative, anything else has no weight.
fn label_in(word: u32, row: u32) -> u32 {
  return (word >> (8u * (row & 3u))) & 0xffu;
}
