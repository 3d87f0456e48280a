// Damped Newton for small problems from start to end: one workgroup per problem.
//
//   repeat:  f, g, H at the trial point in one pass over the rows;  accept, or halve the step;
//            L·Lᵀ = H + diag(1 … 1, 0),  step = −(L·Lᵀ)⁻¹g,  trial = theta + step
//
// Nothing leaves the workgroup between gradient, Hessian and step, and a workgroup whose problem is finished makes room
// for the next one, so a long list of problems keeps the device busy without the host. `rounds` bounds the time of a
// dispatch; a problem that needs more goes on in the next. The pass over the rows, data_pass, comes from lib/narrow-pass.wgsl
// or lib/wide-pass.wgsl, by the number of parameters.
//
// pool      [columns × n] gathered columns, column-major
// problems  [problems]
// support   columns, centres and scales of each problem's support, problem after problem
// labels    [features × ⌈n/4⌉] four bytes a word
// theta     [problems × stride] accepted parameters, in the first half of the buffer; the last step is taken
// step      [problems × stride] Newton step from theta
// trial     [problems × stride] parameters to evaluate
// factor    [problems × stride × stride] L at the last point but one, lower triangle, once the problem is finished

@group(0) @binding(0) var<storage, read> pool: array<f32>;
@group(0) @binding(1) var<storage, read_write> problems: array<Problem>;
@group(0) @binding(2) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> theta: array<f32>;
@group(0) @binding(5) var<storage, read_write> step: array<f32>;
@group(0) @binding(6) var<storage, read_write> trial: array<f32>;
@group(0) @binding(7) var<storage, read_write> factor: array<f32>;

struct Params {
  rows: u32,
  problem_count: u32,
  stride: u32,
  rounds: u32,
  most_iterations: u32,
  // Decrement at which float32 stops.
  tolerance: f32,
}
@group(0) @binding(8) var<uniform> params: Params;

// ⌈(k + 1)/4⌉ for the largest k of the batch, at most 8.
override vectors: u32 = 2u;

const THREADS: u32 = 128u;

var<workgroup> current: Problem;
var<workgroup> columns: array<SupportColumn, 4u * vectors>;
// Trial and accepted parameters, the gradient, the step from the accepted ones, and what is solved for.
var<workgroup> point: array<vec4<f32>, vectors>;
var<workgroup> accepted: array<f32, 4u * vectors>;
var<workgroup> gradient: array<f32, 4u * vectors>;
var<workgroup> direction: array<f32, 4u * vectors>;
var<workgroup> residual: array<f32, 4u * vectors>;
var<workgroup> solution: array<f32, 4u * vectors>;
// Lower triangle, row after row: the Hessian, then L.
var<workgroup> hessian: array<f32, 2u * vectors * (4u * vectors + 1u)>;
var<workgroup> loss_total: f32;
var<workgroup> accepts: bool;

/// Parameter 4q + c of a row: x̃, 1 for the intercept, 0 beyond it.
fn design_entry(j: u32, k: u32, row: u32) -> f32 {
  if (j >= k) {
    return select(0.0, 1.0, j == k);
  }
  let s = columns[j];
  return (pool[s.column + row] - s.center) * s.inverse_scale;
}

fn design_vector(q: u32, k: u32, row: u32) -> vec4<f32> {
  return vec4<f32>(
    design_entry(4u * q, k, row),
    design_entry(4u * q + 1u, k, row),
    design_entry(4u * q + 2u, k, row),
    design_entry(4u * q + 3u, k, row),
  );
}

/// Loss, residual and curvature of a row by its label and decision value.
fn row_terms(label: u32, z: f32) -> vec3<f32> {
  if (label > 1u) {
    return vec3<f32>();
  }
  let positive = label == 1u;
  let weight = select(current.weight_negative, current.weight_positive, positive);
  let row = logistic_row(select(-z, z, positive));
  return weight * vec3<f32>(row.x, select(row.y, -row.y, positive), row.z);
}

/// Entry (a, b) of the lower triangle.
fn entry(a: u32, b: u32) -> u32 {
  return a * (a + 1u) / 2u + b;
}

/// Factors the Hessian in place, and solves L·Lᵀ·solution = −gradient. Every thread works out the pivots for itself.
fn factor_and_solve(m: u32, lane: u32) {
  workgroupBarrier();
  if (lane < m) {
    // The diagonals, until the solution takes their place.
    solution[lane] = hessian[entry(lane, lane)];
    residual[lane] = -gradient[lane];
  }
  workgroupBarrier();
  // The right-hand side is eliminated along with the columns: L·y = −gradient, y in residual.
  for (var c = 0u; c < m; c++) {
    let root = pivot_root(hessian[entry(c, c)], solution[c], m);
    let y = residual[c] / root;
    var scaled = 0.0;
    if (lane > c && lane < m) {
      scaled = hessian[entry(lane, c)] / root;
      hessian[entry(lane, c)] = scaled;
    }
    workgroupBarrier();
    if (lane > c && lane < m) {
      residual[lane] -= scaled * y;
    }
    if (lane == c) {
      hessian[entry(c, c)] = root;
      residual[c] = y;
    }
    // Threads as a 16 × 8 grid over the trailing triangle.
    for (var a = c + 1u + lane / 8u; a < m; a += THREADS / 8u) {
      let left = hessian[entry(a, c)];
      for (var b = c + 1u + lane % 8u; b <= a; b += 8u) {
        hessian[entry(a, b)] -= left * hessian[entry(b, c)];
      }
    }
    workgroupBarrier();
  }
  for (var back = 1u; back <= m; back++) {
    let c = m - back;
    let x = residual[c] / hessian[entry(c, c)];
    if (lane == c) {
      solution[c] = x;
    }
    if (lane < c) {
      residual[lane] -= hessian[entry(c, lane)] * x;
    }
    workgroupBarrier();
  }
}

@compute @workgroup_size(THREADS)
fn logistic_newton(
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
  let start = workgroupUniformLoad(&current);
  if (start.status != TRIAL) {
    return;
  }
  let k = start.columns;
  let m = k + 1u;
  let first = p * params.stride;
  if (lane < 4u * vectors) {
    var value = 0.0;
    if (lane < m) {
      value = trial[first + lane];
      accepted[lane] = theta[first + lane];
      direction[lane] = step[first + lane];
    }
    point[lane / 4u][lane % 4u] = value;
    if (lane < k) {
      columns[lane] = support[start.support + lane];
      columns[lane].column *= params.rows;
    }
  }
  workgroupBarrier();
  var status = TRIAL;
  for (var round = 0u; round < params.rounds && status == TRIAL; round++) {
    data_pass(k, start.labels, lane);
    workgroupBarrier();
    if (lane < k) {
      gradient[lane] += point[lane / 4u][lane % 4u];
      hessian[entry(lane, lane)] += 1.0;
    }
    // Of a point that is then refused, which is rare, all this is worth nothing.
    factor_and_solve(m, lane);
    if (lane == 0u) {
      var objective = loss_total;
      var slope = 0.0;
      for (var j = 0u; j < m; j++) {
        let w = select(0.0, point[j / 4u][j % 4u], j < k);
        objective += 0.5 * w * w;
        slope -= gradient[j] * solution[j];
      }
      var judgement = judged(current, objective);
      accepts = judgement.status == ACCEPTED;
      if (accepts) {
        judgement = advanced(judgement, slope, params.tolerance, params.most_iterations);
      }
      current = judgement;
    }
    status = workgroupUniformLoad(&current).status;
    if (lane < m) {
      if (accepts) {
        accepted[lane] = point[lane / 4u][lane % 4u];
        direction[lane] = solution[lane];
      }
      // The next full step, or a shorter one.
      point[lane / 4u][lane % 4u] = accepted[lane] + current.step_length * direction[lane];
    }
    workgroupBarrier();
  }
  if (lane < m) {
    theta[first + lane] = select(accepted[lane], point[lane / 4u][lane % 4u], takes_last_step(current));
    step[first + lane] = direction[lane];
    trial[first + lane] = point[lane / 4u][lane % 4u];
  }
  if (lane == 0u) {
    problems[p] = current;
  }
  if (status == FINISHED) {
    for (var a = lane / 8u; a < m; a += THREADS / 8u) {
      for (var b = lane % 8u; b <= a; b += 8u) {
        factor[(first + a) * params.stride + b] = hessian[entry(a, b)];
      }
    }
  }
}
