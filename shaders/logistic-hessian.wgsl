// Curvature matrix of each problem's loss at its accepted point, lower triangle, summed over slices of rows.
//
//   hessian[p, slice, a, b] = Σ_{i in slice} h_i·x̃_ia·x̃_ib,  b ≤ a,  x̃_ik = 1
//
// One workgroup computes one square tile of one slice; rows pass through workgroup memory. The penalty is not in it.
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

// Edge of a tile, and of the workgroup.
override tile: u32 = 16u;
// Rows in workgroup memory at a time.
override depth: u32 = 32u;

var<workgroup> left: array<f32, tile * (depth + 1u)>;
var<workgroup> right: array<f32, tile * (depth + 1u)>;

// x̃ of one row and parameter: 1 for the intercept, 0 beyond it.
fn design(problem: Problem, a: u32, row: u32) -> f32 {
  if (a >= problem.columns) {
    return select(0.0, 1.0, a == problem.columns);
  }
  let s = support[problem.support + a];
  return (pool[s.column * params.rows + row] - s.center) * s.inverse_scale;
}

@compute @workgroup_size(tile, tile)
fn logistic_hessian(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let edge = (params.stride + tile - 1u) / tile;
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
  let a0 = tile_row * tile;
  let b0 = tile_column * tile;
  if (problem.status != ACCEPTED || a0 > problem.columns) {
    return;
  }
  let start = min(params.first_row + slice * params.slice_rows, params.rows);
  let end = min(start + params.slice_rows, params.rows);
  var sum = 0.0;
  for (var top = start; top < end; top += depth) {
    workgroupBarrier();
    for (var item_of_tile = lane; item_of_tile < tile * depth; item_of_tile += tile * tile) {
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
    for (var i = 0u; i < depth; i++) {
      sum += left[local.y * (depth + 1u) + i] * right[local.x * (depth + 1u) + i];
    }
  }
  let a = a0 + local.y;
  let b = b0 + local.x;
  if (a <= problem.columns && b <= a) {
    let place = ((p * params.slices + slice) * params.stride + a) * params.stride + b;
    hessian[place] = sum + select(0.0, hessian[place], params.accumulate == 1u);
  }
}
