// Gradient of each problem's objective at its accepted point: one workgroup per parameter.
//
//   gradient[p, j] = Σ_i r_i·x̃_ij + w_j  (j < k),     gradient[p, k] = Σ_i r_i
//
// pool, problems, support  as in logistic_derivatives
// derivatives  [problems × n] (r_i, curvature)
// theta        [problems × stride]
// gradient     [problems × stride]

@group(0) @binding(0) var<storage, read> pool: array<f32>;
@group(0) @binding(1) var<storage, read> problems: array<Problem>;
@group(0) @binding(2) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(3) var<storage, read> derivatives: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> theta: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>;

struct Params {
  rows: u32,
  problem_count: u32,
  stride: u32,
}
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn logistic_gradient(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = linear_workgroup(group, grid);
  let p = tile / params.stride;
  let j = tile % params.stride;
  if (p >= params.problem_count) {
    return;
  }
  let problem = problems[p];
  if (problem.status != ACCEPTED || j > problem.columns) {
    return;
  }
  var part = 0.0;
  if (j == problem.columns) {
    for (var i = lane; i < params.rows; i += workgroup_size) {
      part += derivatives[p * params.rows + i].x;
    }
  } else {
    let s = support[problem.support + j];
    for (var i = lane; i < params.rows; i += workgroup_size) {
      let value = (pool[s.column * params.rows + i] - s.center) * s.inverse_scale;
      part += derivatives[p * params.rows + i].x * value;
    }
  }
  let sum = workgroup_sum(part, lane);
  if (lane == 0u) {
    let place = p * params.stride + j;
    gradient[place] = sum + select(theta[place], 0.0, j == problem.columns);
  }
}
