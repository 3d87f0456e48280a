// Decides about each problem's trial point: one workgroup per problem.
//
//   f = Σ losses + ½|w|², judged as lib/newton.wgsl says
//
// A point that is not accepted gives way to one half as far from theta.
//
// problems  [problems]
// losses    [problems × blocks of all chunks] of logistic_derivatives
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
  let after = judged(problem, objective);
  for (var j = lane; j <= problem.columns; j += workgroup_size) {
    if (after.status == ACCEPTED) {
      theta[first + j] = trial[first + j];
    } else {
      trial[first + j] = theta[first + j] + after.step_length * step[first + j];
    }
  }
  if (lane == 0u) {
    problems[p] = after;
  }
}
