// Gradient of each problem's loss at its trial point over slices of rows: one workgroup per problem, parameter and slice.
//
//   gradient[p, j, first_slice + s] = Σ_{i in slice s} r_i·x̃_ij  (j < k),     gradient[p, k, …] = Σ_{i in slice s} r_i
//
// The penalty is not in it.
//
// pool, problems, support  as in logistic_derivatives
// derivatives  [problems × n] (r_i, curvature)
// gradient     [problems × stride × all_slices]

@group(0) @binding(0) var<storage, read> pool: array<f32>;
@group(0) @binding(1) var<storage, read> problems: array<Problem>;
@group(0) @binding(2) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(3) var<storage, read> derivatives: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;

struct Params {
  rows: u32,
  problem_count: u32,
  stride: u32,
  // Slices of this chunk, of all chunks, and of the chunks before.
  slices: u32,
  all_slices: u32,
  first_slice: u32,
  slice_rows: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn logistic_gradient(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = linear_workgroup(group, grid);
  // Parameters of one slice follow each other: its residuals stay in the cache.
  let j = tile % params.stride;
  let slice = (tile / params.stride) % params.slices;
  let p = tile / (params.stride * params.slices);
  if (p >= params.problem_count) {
    return;
  }
  let problem = problems[p];
  if (problem.status != TRIAL || j > problem.columns) {
    return;
  }
  let start = slice * params.slice_rows;
  let end = min(start + params.slice_rows, params.rows);
  var part = 0.0;
  if (j == problem.columns) {
    for (var i = start + lane; i < end; i += workgroup_size) {
      part += derivatives[p * params.rows + i].x;
    }
  } else {
    let s = support[problem.support + j];
    for (var i = start + lane; i < end; i += workgroup_size) {
      let value = (pool[s.column * params.rows + i] - s.center) * s.inverse_scale;
      part += derivatives[p * params.rows + i].x * value;
    }
  }
  let sum = workgroup_sum(part, lane);
  if (lane == 0u) {
    gradient[(p * params.stride + j) * params.all_slices + params.first_slice + slice] = sum;
  }
}
