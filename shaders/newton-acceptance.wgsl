// Decides about each problem's trial point: one workgroup per problem.
//
//   f = Σ losses + ½|w|²;  accepted when f ≤ objective − 10⁻⁴·step_length·slope + noise (Armijo)
//
// Otherwise the step is halved and a new trial point written. `noise` allows for the rounding of f in float32.
//
// problems  [problems]
// losses    [problems × blocks] of logistic_derivatives
// theta     [problems × stride] accepted parameters
// step      [problems × stride] Newton step from theta
// trial     [problems × stride] parameters that losses belong to; the next ones to evaluate

@group(0) @binding(0) var<storage, read_write> problems: array<Problem>;
@group(0) @binding(1) var<storage, read> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> theta: array<f32>;
@group(0) @binding(3) var<storage, read> step: array<f32>;
@group(0) @binding(4) var<storage, read_write> trial: array<f32>;

struct Params {
  problem_count: u32,
  stride: u32,
  blocks: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

const ARMIJO: f32 = 1e-4;
const NOISE: f32 = 2e-6;
const MOST_HALVINGS: u32 = 20u;

var<workgroup> current: Problem;

@compute @workgroup_size(workgroup_size)
fn newton_acceptance(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let p = linear_workgroup(group, grid);
  if (p >= params.problem_count) {
    return;
  }
  if (lane == 0u) {
    current = problems[p];
  }
  let problem = workgroupUniformLoad(&current);
  if (problem.status != TRIAL) {
    return;
  }
  let first = p * params.stride;
  var part = 0.0;
  for (var chunk = lane; chunk < params.blocks; chunk += workgroup_size) {
    part += losses[p * params.blocks + chunk];
  }
  for (var j = lane; j < problem.columns; j += workgroup_size) {
    let w = trial[first + j];
    part += 0.5 * w * w;
  }
  let objective = workgroup_sum(part, lane);
  let bound = problem.objective - ARMIJO * problem.step_length * problem.slope + NOISE * problem.objective;
  let accepted = objective <= bound;
  let shorter = problem.step_length * 0.5;
  for (var j = lane; j <= problem.columns; j += workgroup_size) {
    if (accepted) {
      theta[first + j] = trial[first + j];
    } else {
      trial[first + j] = theta[first + j] + shorter * step[first + j];
    }
  }
  if (lane == 0u) {
    if (accepted) {
      problems[p].status = ACCEPTED;
      problems[p].objective = objective;
      problems[p].halvings = 0u;
      // The starting point is no step: its slope is zero.
      problems[p].iterations = problem.iterations + select(0u, 1u, problem.slope > 0.0);
    } else {
      problems[p].step_length = shorter;
      problems[p].halvings = problem.halvings + 1u;
      problems[p].status = select(TRIAL, FINISHED, problem.halvings + 1u >= MOST_HALVINGS);
    }
  }
}
