// Curvature matrix of each problem's loss at its trial point, lower triangle, summed over slices of rows.
//
//   hessian[p, slice, a, b] = Σ_{i in slice} h_i·x̃_ia·x̃_ib,  b ≤ a,  x̃_ik = 1
//
// One workgroup computes one square tile of one slice, a thread reach × reach entries of it over a share of the rows; rows
// pass through workgroup memory. A tile is as wide as few parameters need, and the shares then make up for the threads that
// it lacks. The penalty is not in it.
//
// pool, problems, support  as in logistic_derivatives
// derivatives  [problems × n] (residual, h_i)
// hessian      [problems × slices × stride × stride]

@group(0) @binding(0) var<storage, read> pool: array<f32>;
@group(0) @binding(1) var<storage, read> problems: array<Problem>;
@group(0) @binding(2) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(3) var<storage, read> derivatives: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> hessian: array<f32>;

struct Params {
  rows: u32,
  problem_count: u32,
  stride: u32,
  slices: u32,
  // Rows of one slice in this dispatch; the first slice starts at first_row.
  slice_rows: u32,
  first_row: u32,
  // 1 when earlier rows are in hessian already.
  accumulate: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

// Edge of the workgroup.
override tile: u32 = 16u;
// Entries of a tile per thread and direction, 1 or 4: its edge is tile·reach.
override reach: u32 = 1u;
// Rows in workgroup memory at a time.
override depth: u32 = 32u;
// Threads that share the rows of an entry, at most depth/tile, and 1 unless reach is 1.
override shares: u32 = 1u;

var<workgroup> left: array<f32, tile * reach * (depth + 1u)>;
var<workgroup> right: array<f32, tile * reach * (depth + 1u)>;

// x̃ of one row and parameter: 1 for the intercept, 0 beyond it.
fn design(problem: Problem, a: u32, row: u32) -> f32 {
  if (a >= problem.columns) {
    return select(0.0, 1.0, a == problem.columns);
  }
  let s = support[problem.support + a];
  return (pool[s.column * params.rows + row] - s.center) * s.inverse_scale;
}

// Stores a thread's entries of row a, a tile apart from column b on, where they belong to the lower triangle.
fn keep(first: u32, last: u32, a: u32, b: u32, sums: vec4<f32>) {
  for (var v = 0u; v < reach; v++) {
    let column = b + v * tile;
    if (a <= last && column <= a) {
      let place = first + a * params.stride + column;
      hessian[place] = sums[v] + select(0.0, hessian[place], params.accumulate == 1u);
    }
  }
}

@compute @workgroup_size(tile, tile, shares)
fn logistic_hessian(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let width = tile * reach;
  let edge = (params.stride + width - 1u) / width;
  let pairs = edge * (edge + 1u) / 2u;
  let item = linear_workgroup(group, grid);
  let p = item / (pairs * params.slices);
  if (p >= params.problem_count) {
    return;
  }
  let slice = (item / pairs) % params.slices;
  // The pair-th tile of the lower triangle, row by row.
  var tile_row = 0u;
  var tile_column = item % pairs;
  while (tile_column > tile_row) {
    tile_row++;
    tile_column -= tile_row;
  }
  let problem = problems[p];
  let a0 = tile_row * width;
  let b0 = tile_column * width;
  if (problem.status != TRIAL || a0 > problem.columns) {
    return;
  }
  let start = min(params.first_row + slice * params.slice_rows, params.rows);
  let end = min(start + params.slice_rows, params.rows);
  // Rows of a thread's 4 × 4 entries; with one entry, the first of the first.
  var sums_0 = vec4<f32>();
  var sums_1 = vec4<f32>();
  var sums_2 = vec4<f32>();
  var sums_3 = vec4<f32>();
  for (var top = start; top < end; top += depth) {
    workgroupBarrier();
    for (var item_of_tile = lane; item_of_tile < width * depth; item_of_tile += tile * tile * shares) {
      let column = item_of_tile / depth;
      let i = item_of_tile % depth;
      let row = top + i;
      var curvature = 0.0;
      var x_left = 0.0;
      var x_right = 0.0;
      if (row < end) {
        curvature = derivatives[p * params.rows + row].y;
        x_left = design(problem, a0 + column, row);
        x_right = design(problem, b0 + column, row);
      }
      // One word of padding keeps threads of a row of the tile in different banks.
      left[column * (depth + 1u) + i] = curvature * x_left;
      right[column * (depth + 1u) + i] = x_right;
    }
    workgroupBarrier();
    for (var i = local.z; i < depth; i += shares) {
      // A thread's entries lie tile apart, so neighbouring threads read neighbouring columns.
      let at_left = local.y * (depth + 1u) + i;
      let at_right = local.x * (depth + 1u) + i;
      if (reach == 1u) {
        sums_0.x += left[at_left] * right[at_right];
      } else {
        let apart = tile * (depth + 1u);
        let r = vec4<f32>(
          right[at_right],
          right[at_right + apart],
          right[at_right + 2u * apart],
          right[at_right + 3u * apart],
        );
        sums_0 += left[at_left] * r;
        sums_1 += left[at_left + apart] * r;
        sums_2 += left[at_left + 2u * apart] * r;
        sums_3 += left[at_left + 3u * apart] * r;
      }
    }
  }
  if (shares > 1u) {
    // The sums of every share take the place of the rows.
    workgroupBarrier();
    left[lane] = sums_0.x;
    workgroupBarrier();
    if (local.z == 0u) {
      for (var other = 1u; other < shares; other++) {
        sums_0.x += left[other * tile * tile + lane];
      }
    }
  }
  if (local.z > 0u) {
    return;
  }
  let first = (p * params.slices + slice) * params.stride * params.stride;
  let a = a0 + local.y;
  let b = b0 + local.x;
  keep(first, problem.columns, a, b, sums_0);
  if (reach > 1u) {
    keep(first, problem.columns, a + tile, b, sums_1);
    keep(first, problem.columns, a + 2u * tile, b, sums_2);
    keep(first, problem.columns, a + 3u * tile, b, sums_3);
  }
}
