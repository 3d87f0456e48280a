// A batch of logistic problems that advance in lock-step.
//
//   f(w, b) = Σ_i W_i·log(1 + exp(−s_i·(w·x̃_i + b))) + ½|w|²,   x̃_ij = (x_ij − center_j)·inverse_scale_j
//
// with W_i = C·ω of row i's class. Parameters are k weights, then the intercept, at a stride common to the batch.

// A trial point waits to be evaluated.
const TRIAL: u32 = 0u;
// The point was accepted: a step from it is wanted.
const ACCEPTED: u32 = 1u;
// Nothing is left to do in float32; the point waits for a certificate in double arithmetic.
const FINISHED: u32 = 2u;
// The same, after a step from a point that had reached the tolerance: this one is the last.
const LAST: u32 = 3u;
const CERTIFIED: u32 = 4u;
// Left to the host.
const REFUSED: u32 = 5u;

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
  // C·ω of rows of either class, and what float32 leaves of it.
  weight_negative: f32,
  weight_positive: f32,
  weight_negative_low: f32,
  weight_positive_low: f32,
  // C·Σω.
  total_weight: f32,
  // f at the accepted point.
  objective: f32,
  // Share of the step that the trial point takes.
  step_length: f32,
  // Decrease that the full step promises to first order: gᵀH⁻¹g.
  slope: f32,
  // slope/(2·C·Σω); of a certificate: at the last point evaluated.
  decrement: f32,
  // Points that certificates evaluated.
  rounds: u32,
  // At the last of them: |gradient|, f as a double, and the rows with weight that are not strictly on their side.
  gradient_norm: f32,
  objective_high: f32,
  objective_low: f32,
  violations: f32,
}

// A column x̃ = (x − center)·inverse_scale of a support; the constants as doubles.
struct SupportColumn {
  // Index of the column in the pool.
  column: u32,
  center: f32,
  inverse_scale: f32,
  center_low: f32,
  inverse_scale_low: f32,
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

/// The loss of a row with margin m, σ(−m) and σ(m)·σ(−m), from forms that do not cancel.
fn logistic_row(margin: f32) -> vec3<f32> {
  let e = exp(-abs(margin));
  let whole = 1.0 + e;
  return vec3<f32>(
    max(-margin, 0.0) + log_one_plus(e),
    select(1.0, e, margin >= 0.0) / whole,
    e / (whole * whole),
  );
}
