// Newton step of each problem: one workgroup per problem.
//
//   H = Σ_slices hessian + diag(1 … 1, 0) = L·Lᵀ,   step = −H⁻¹·gradient,   trial = theta + step
//   slope = gradientᵀ·H⁻¹·gradient
//
// A dispatch eliminates column_count columns from first_column on; the first also sums the slices and adds the penalty,
// the one that reaches the last column solves. L replaces slice 0.
//
// problems  [problems]
// hessian   [problems × slices × stride × stride] of logistic_hessian; slice 0 becomes L (lower triangle)
// gradient  [problems × stride × gradient_slices] of logistic_gradient; slice 0 becomes their sum, the penalty's included
// theta     [problems × stride]; a finished problem takes the step here
// step      [problems × stride]
// trial     [problems × stride]

@group(0) @binding(0) var<storage, read_write> problems: array<Problem>;
@group(0) @binding(1) var<storage, read_write> hessian: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> theta: array<f32>;
@group(0) @binding(4) var<storage, read_write> step: array<f32>;
@group(0) @binding(5) var<storage, read_write> trial: array<f32>;

struct Params {
  problem_count: u32,
  stride: u32,
  slices: u32,
  gradient_slices: u32,
  most_iterations: u32,
  // Decrement at which float32 stops.
  tolerance: f32,
  first_column: u32,
  column_count: u32,
}
@group(0) @binding(6) var<uniform> params: Params;

// Threads along a row of the trailing matrix; workgroup_size is a multiple of it.
const ACROSS: u32 = 16u;

var<workgroup> current: Problem;
var<workgroup> pivot: f32;

@compute @workgroup_size(workgroup_size)
fn newton_step(
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
  if (problem.status != ACCEPTED) {
    return;
  }
  let k = problem.columns;
  let m = k + 1u;
  let stride = params.stride;
  let area = stride * stride;
  let base = p * params.slices * area;
  let first = p * stride;

  // Slices summed, penalty added; the diagonal is remembered in step.
  if (params.first_column == 0u) {
    for (var r = lane / ACROSS; r < m; r += workgroup_size / ACROSS) {
      for (var c = lane % ACROSS; c <= r; c += ACROSS) {
        let place = base + r * stride + c;
        var sum = hessian[place];
        for (var slice = 1u; slice < params.slices; slice++) {
          sum += hessian[place + slice * area];
        }
        if (r == c) {
          sum += select(0.0, 1.0, r < k);
          step[first + r] = sum;
        }
        hessian[place] = sum;
      }
    }
    for (var r = lane; r < m; r += workgroup_size) {
      let place = (first + r) * params.gradient_slices;
      var sum = select(theta[first + r], 0.0, r == k);
      for (var slice = 0u; slice < params.gradient_slices; slice++) {
        sum += gradient[place + slice];
      }
      gradient[place] = sum;
    }
    storageBarrier();
  }

  // Right-looking Cholesky.
  let end = params.first_column + params.column_count;
  for (var c = params.first_column; c < min(end, m); c++) {
    if (lane == 0u) {
      let place = base + c * stride + c;
      pivot = pivot_root(hessian[place], step[first + c], m);
      hessian[place] = pivot;
    }
    workgroupBarrier();
    let root = pivot;
    for (var r = c + 1u + lane; r < m; r += workgroup_size) {
      hessian[base + r * stride + c] /= root;
    }
    storageBarrier();
    for (var r = c + 1u + lane / ACROSS; r < m; r += workgroup_size / ACROSS) {
      let factor = hessian[base + r * stride + c];
      for (var q = c + 1u + lane % ACROSS; q <= r; q += ACROSS) {
        hessian[base + r * stride + q] -= factor * hessian[base + q * stride + c];
      }
    }
    storageBarrier();
    workgroupBarrier();
  }

  if (end < m) {
    return;
  }

  // L·y = −gradient, then Lᵀ·step = y, both in place in step.
  for (var r = lane; r < m; r += workgroup_size) {
    step[first + r] = -gradient[(first + r) * params.gradient_slices];
  }
  storageBarrier();
  for (var c = 0u; c < m; c++) {
    if (lane == 0u) {
      pivot = step[first + c] / hessian[base + c * stride + c];
      step[first + c] = pivot;
    }
    workgroupBarrier();
    let solved = pivot;
    for (var r = c + 1u + lane; r < m; r += workgroup_size) {
      step[first + r] -= hessian[base + r * stride + c] * solved;
    }
    storageBarrier();
    workgroupBarrier();
  }
  for (var back = 0u; back < m; back++) {
    let c = k - back;
    if (lane == 0u) {
      pivot = step[first + c] / hessian[base + c * stride + c];
      step[first + c] = pivot;
    }
    workgroupBarrier();
    let solved = pivot;
    for (var r = lane; r < c; r += workgroup_size) {
      step[first + r] -= hessian[base + c * stride + r] * solved;
    }
    storageBarrier();
    workgroupBarrier();
  }

  var part = 0.0;
  for (var r = lane; r < m; r += workgroup_size) {
    part -= gradient[(first + r) * params.gradient_slices] * step[first + r];
    trial[first + r] = theta[first + r] + step[first + r];
  }
  let slope = workgroup_sum(part, lane);
  if (lane == 0u) {
    current = advanced(problem, slope, params.tolerance, params.most_iterations);
    problems[p] = current;
  }
  if (takes_last_step(workgroupUniformLoad(&current))) {
    for (var r = lane; r < m; r += workgroup_size) {
      theta[first + r] = trial[first + r];
    }
  }
}
