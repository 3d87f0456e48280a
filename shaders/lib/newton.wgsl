// The decisions of a damped Newton method, and the pivots of its Cholesky factor.

const ARMIJO: f32 = 1e-4;
// Rounding of the objective in float32.
const NOISE: f32 = 2e-6;
const MOST_HALVINGS: u32 = 20u;
const EPSILON: f32 = 1.1920929e-7;
const TINY: f32 = 1e-30;
const HUGE: f32 = 1e30;
// Below this decrement steps converge quadratically, so a slower fall is rounding.
const NEAR: f32 = 1e-4;

/// Accepts the trial point, f ≤ objective − 10⁻⁴·step_length·slope + noise (Armijo), or halves the step.
fn judged(before: Problem, objective: f32) -> Problem {
  var after = before;
  if (objective <= before.objective - ARMIJO * before.step_length * before.slope + NOISE * before.objective) {
    after.status = ACCEPTED;
    after.objective = objective;
    after.halvings = 0u;
    // The starting point is no step: its slope is zero.
    after.iterations = before.iterations + select(0u, 1u, before.slope > 0.0);
  } else {
    after.step_length = 0.5 * before.step_length;
    after.halvings = before.halvings + 1u;
    // The factor at hand belongs to another point.
    after.status = select(TRIAL, REFUSED, before.halvings + 1u >= MOST_HALVINGS);
  }
  return after;
}

/// Finishes the problem when the decrement is small or, close to the end, no longer falls: float32 has given what it can.
/// The last step is still taken, and counted: the point after it is what a certificate looks at first. Where there is no
/// such step, the decrement is zero, so that no certificate is compared with it.
fn advanced(before: Problem, slope: f32, tolerance: f32, most_iterations: u32) -> Problem {
  var after = before;
  let decrement = slope / (2.0 * before.total_weight);
  let usable = slope > 0.0 && slope < HUGE;
  let stalled = before.decrement < NEAR && decrement > 0.25 * before.decrement;
  let done = !usable || stalled || decrement <= tolerance || before.iterations >= most_iterations;
  let last_step = usable && before.iterations < most_iterations;
  after.slope = slope;
  after.decrement = select(0.0, decrement, last_step || !done);
  after.iterations = before.iterations + select(0u, 1u, done && last_step);
  after.step_length = 1.0;
  after.status = select(TRIAL, FINISHED, done);
  return after;
}

/// Root of a pivot; one that rounding has pushed below m·ε of its diagonal is raised to that.
fn pivot_root(value: f32, diagonal: f32, m: u32) -> f32 {
  let least = max(f32(m) * EPSILON * diagonal, TINY);
  return sqrt(select(least, value, value > least));
}

/// Whether a finished problem takes the step that was worked out last.
fn takes_last_step(problem: Problem) -> bool {
  return problem.status == FINISHED && problem.decrement > 0.0;
}
