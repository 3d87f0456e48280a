// Gradient of each problem's loss by the stored columns, in double arithmetic, over slices of rows.
//
//   slopes[p, j, first_slice + s] = Σ_{i in slice s} r_i·x_ij  (j < k),     slopes[p, k, …] = Σ_{i in slice s} r_i
//
// One workgroup per problem, parameter and slice; neighbouring threads read neighbouring rows.
//
// pool, problems, support  as in certificate_residuals
// residuals  [problem_count × n] doubles r_i
// slopes     [problem_count × stride × slices of all chunks] doubles

@group(0) @binding(0) var<storage, read> pool: array<f32>;
@group(0) @binding(1) var<storage, read> problems: array<Problem>;
@group(0) @binding(2) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(3) var<storage, read> residuals: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> slopes: array<vec2<f32>>;

struct Params {
  rows: u32,
  // Problems [first_problem, first_problem + problem_count) of all.
  first_problem: u32,
  problem_count: u32,
  stride: u32,
  // Slices of this chunk, of all chunks, and of the chunks before.
  slices: u32,
  all_slices: u32,
  first_slice: u32,
  slice_rows: u32,
  // 0; see lib/double.wgsl.
  zero: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn certificate_gradient(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  double_zero = params.zero;
  let tile = linear_workgroup(group, grid);
  // Parameters of one slice follow each other: its residuals stay in the cache.
  let j = tile % params.stride;
  let slice = (tile / params.stride) % params.slices;
  let local = tile / (params.stride * params.slices);
  if (local >= params.problem_count) {
    return;
  }
  let p = params.first_problem + local;
  let problem = problems[p];
  if ((problem.status != FINISHED && problem.status != LAST) || j > problem.columns) {
    return;
  }
  let start = slice * params.slice_rows;
  let end = min(start + params.slice_rows, params.rows);
  let base = local * params.rows;
  var part = vec2<f32>();
  if (j == problem.columns) {
    for (var row = start + lane; row < end; row += workgroup_size) {
      part = double_add(part, residuals[base + row]);
    }
  } else {
    let column = support[problem.support + j].column * params.rows;
    for (var row = start + lane; row < end; row += workgroup_size) {
      part = double_add(part, double_scale(residuals[base + row], pool[column + row]));
    }
  }
  let sum = workgroup_double_sum(part, lane);
  if (lane == 0u) {
    slopes[(local * params.stride + j) * params.all_slices + params.first_slice + slice] = sum;
  }
}
