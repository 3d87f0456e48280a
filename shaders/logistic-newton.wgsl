// Damped Newton for small problems from start to end: one workgroup per problem.
//
//   repeat:  f, g, H at the trial point in one pass over the rows;  accept, or halve the step;
//            L·Lᵀ = H + diag(1 … 1, 0),  step = −(L·Lᵀ)⁻¹g,  trial = theta + step
//
// Nothing leaves the workgroup between gradient, Hessian and step, and a workgroup whose problem is finished makes room
// for the next one, so a long list of problems keeps the device busy without the host. `rounds` bounds the time of a
// dispatch; a problem that needs more goes on in the next. With up to eight parameters a thread keeps the sums of its own
// rows in registers; with more, rows pass through workgroup memory and a thread sums 4 × 4 entries over a share of them.
//
// pool      [columns × n] gathered columns, column-major
// problems  [problems]
// support   columns, centres and scales of each problem's support, problem after problem
// labels    [features × ⌈n/4⌉] four bytes a word
// theta     [problems × stride] accepted parameters, in the first half of the buffer
// step      [problems × stride] Newton step from theta
// trial     [problems × stride] parameters to evaluate
// factor    [problems × stride × stride] L at theta, lower triangle, once the problem is finished

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
// Rows in workgroup memory at a time, at most 128 and 640/(vectors | 1).
override tile_rows: u32 = 128u;

const THREADS: u32 = 128u;
const WIDTH: u32 = 32u;

var<workgroup> current: Problem;
var<workgroup> columns: array<SupportColumn, WIDTH>;
// Trial and accepted parameters, gradient and step.
var<workgroup> point: array<vec4<f32>, 8>;
var<workgroup> accepted: array<f32, WIDTH>;
var<workgroup> gradient: array<f32, WIDTH>;
var<workgroup> direction: array<f32, WIDTH>;
var<workgroup> diagonal: array<f32, WIDTH>;
// Lower triangle, row after row: the Hessian, then L.
var<workgroup> hessian: array<f32, 528>;
// A tile of rows, vectors | 1 vectors apart so that threads read from different banks, or sums to be added up.
var<workgroup> scratch: array<vec4<f32>, 640>;
// Residual and curvature of the tile's rows.
var<workgroup> row_factors: array<vec2<f32>, THREADS>;
var<workgroup> loss_total: f32;
var<workgroup> pivot: f32;
var<workgroup> decided: u32;

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

/// Adds up four vectors of every thread; the sums are in scratch[0 .. 4) then.
fn add_up(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, lane: u32) {
  workgroupBarrier();
  scratch[5u * lane] = a;
  scratch[5u * lane + 1u] = b;
  scratch[5u * lane + 2u] = c;
  scratch[5u * lane + 3u] = d;
  workgroupBarrier();
  let place = 20u * (lane / 4u) + lane % 4u;
  let sum = (scratch[place] + scratch[place + 5u]) + (scratch[place + 10u] + scratch[place + 15u]);
  workgroupBarrier();
  scratch[lane] = sum;
  workgroupBarrier();
  for (var width = THREADS / 2u; width >= 4u; width /= 2u) {
    if (lane < width) {
      scratch[lane] += scratch[lane + width];
    }
    workgroupBarrier();
  }
}

/// Moves a 4 × 4 block of sums from scratch into the Hessian.
fn keep_block(row: u32, column: u32, m: u32, lane: u32) {
  let a = 4u * row + lane / 4u;
  let b = 4u * column + lane % 4u;
  if (lane < 16u && a < m && b <= a) {
    hessian[entry(a, b)] = scratch[lane / 4u][lane % 4u];
  }
}

/// Loss, gradient and Hessian with at most eight parameters.
fn narrow_pass(k: u32, first_label: u32, lane: u32) {
  var loss = 0.0;
  var g0 = vec4<f32>();
  var g1 = vec4<f32>();
  var a0 = vec4<f32>();
  var a1 = vec4<f32>();
  var a2 = vec4<f32>();
  var a3 = vec4<f32>();
  var b0 = vec4<f32>();
  var b1 = vec4<f32>();
  var b2 = vec4<f32>();
  var b3 = vec4<f32>();
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  let t0 = point[0];
  let t1 = point[1];
  for (var row = lane; row < params.rows; row += THREADS) {
    let label = label_in(labels[first_label + row / 4u], row);
    let x0 = design_vector(0u, k, row);
    var x1 = vec4<f32>();
    var z = dot(x0, t0);
    if (vectors > 1u) {
      x1 = design_vector(1u, k, row);
      z += dot(x1, t1);
    }
    let terms = row_terms(label, z);
    loss += terms.x;
    let h0 = terms.z * x0;
    g0 += terms.y * x0;
    a0 += h0.x * x0;
    a1 += h0.y * x0;
    a2 += h0.z * x0;
    a3 += h0.w * x0;
    if (vectors > 1u) {
      let h1 = terms.z * x1;
      g1 += terms.y * x1;
      b0 += h1.x * x0;
      b1 += h1.y * x0;
      b2 += h1.z * x0;
      b3 += h1.w * x0;
      c0 += h1.x * x1;
      c1 += h1.y * x1;
      c2 += h1.z * x1;
      c3 += h1.w * x1;
    }
  }
  let m = k + 1u;
  add_up(g0, g1, vec4<f32>(loss), vec4<f32>(), lane);
  if (lane < m) {
    gradient[lane] = scratch[lane / 4u][lane % 4u];
  }
  if (lane == 0u) {
    loss_total = scratch[2].x;
  }
  add_up(a0, a1, a2, a3, lane);
  keep_block(0u, 0u, m, lane);
  if (vectors > 1u) {
    add_up(b0, b1, b2, b3, lane);
    keep_block(1u, 0u, m, lane);
    add_up(c0, c1, c2, c3, lane);
    keep_block(1u, 1u, m, lane);
  }
}

/// The same with more parameters. Block b of the Hessian's lower triangle is summed by threads b, b + blocks, …
fn wide_pass(k: u32, first_label: u32, lane: u32) {
  let m = k + 1u;
  let stride = vectors | 1u;
  let blocks = vectors * (vectors + 1u) / 2u;
  let shares = THREADS / blocks;
  let share = lane / blocks;
  var row_block = 0u;
  var column_block = lane % blocks;
  while (column_block > row_block) {
    row_block++;
    column_block -= row_block;
  }
  var loss = 0.0;
  var g = vec4<f32>();
  var h0 = vec4<f32>();
  var h1 = vec4<f32>();
  var h2 = vec4<f32>();
  var h3 = vec4<f32>();
  for (var top = 0u; top < params.rows; top += tile_rows) {
    workgroupBarrier();
    for (var item = lane; item < vectors * tile_rows; item += THREADS) {
      let row = item % tile_rows;
      let q = item / tile_rows;
      var x = vec4<f32>();
      if (top + row < params.rows) {
        x = design_vector(q, k, top + row);
      }
      scratch[row * stride + q] = x;
    }
    workgroupBarrier();
    if (lane < tile_rows) {
      let row = top + lane;
      var terms = vec3<f32>();
      if (row < params.rows) {
        var z = 0.0;
        for (var q = 0u; q < vectors; q++) {
          z += dot(scratch[lane * stride + q], point[q]);
        }
        terms = row_terms(label_in(labels[first_label + row / 4u], row), z);
      }
      loss += terms.x;
      row_factors[lane] = terms.yz;
    }
    workgroupBarrier();
    if (share < shares) {
      for (var row = share; row < tile_rows; row += shares) {
        let f = row_factors[row];
        let x = scratch[row * stride + row_block];
        let y = scratch[row * stride + column_block];
        let h = f.y * x;
        g += f.x * x;
        h0 += h.x * y;
        h1 += h.y * y;
        h2 += h.z * y;
        h3 += h.w * y;
      }
    }
  }
  workgroupBarrier();
  scratch[4u * lane] = h0;
  scratch[4u * lane + 1u] = h1;
  scratch[4u * lane + 2u] = h2;
  scratch[4u * lane + 3u] = h3;
  workgroupBarrier();
  if (lane < blocks) {
    for (var u = 0u; u < 4u; u++) {
      var sum = vec4<f32>();
      for (var s = 0u; s < shares; s++) {
        sum += scratch[4u * (s * blocks + lane) + u];
      }
      let a = 4u * row_block + u;
      for (var v = 0u; v < 4u; v++) {
        let b = 4u * column_block + v;
        if (a < m && b <= a) {
          hessian[entry(a, b)] = sum[v];
        }
      }
    }
  }
  workgroupBarrier();
  // Gradients by their blocks on the diagonal, and the loss of every thread.
  scratch[lane] = g;
  scratch[THREADS + lane] = vec4<f32>(loss, 0.0, 0.0, 0.0);
  workgroupBarrier();
  if (lane < m) {
    let q = lane / 4u;
    var sum = 0.0;
    for (var s = 0u; s < shares; s++) {
      sum += scratch[s * blocks + entry(q, q)][lane % 4u];
    }
    gradient[lane] = sum;
  }
  for (var width = THREADS / 2u; width > 0u; width /= 2u) {
    if (lane < width) {
      scratch[THREADS + lane].x += scratch[THREADS + lane + width].x;
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    loss_total = scratch[THREADS].x;
  }
}

/// Factors the Hessian in place, and solves L·Lᵀ·direction = −gradient.
fn factor_and_solve(m: u32, lane: u32) {
  if (lane < m) {
    diagonal[lane] = hessian[entry(lane, lane)];
    direction[lane] = -gradient[lane];
  }
  workgroupBarrier();
  for (var c = 0u; c < m; c++) {
    if (lane == 0u) {
      pivot = pivot_root(hessian[entry(c, c)], diagonal[c], m);
      hessian[entry(c, c)] = pivot;
    }
    workgroupBarrier();
    let root = pivot;
    if (lane > c && lane < m) {
      hessian[entry(lane, c)] /= root;
    }
    workgroupBarrier();
    // Threads as a 16 × 8 grid over the trailing triangle.
    for (var a = c + 1u + lane / 8u; a < m; a += THREADS / 8u) {
      let left = hessian[entry(a, c)];
      for (var b = c + 1u + lane % 8u; b <= a; b += 8u) {
        hessian[entry(a, b)] -= left * hessian[entry(b, c)];
      }
    }
    workgroupBarrier();
  }
  for (var c = 0u; c < m; c++) {
    if (lane == 0u) {
      pivot = direction[c] / hessian[entry(c, c)];
      direction[c] = pivot;
    }
    workgroupBarrier();
    if (lane > c && lane < m) {
      direction[lane] -= hessian[entry(lane, c)] * pivot;
    }
    workgroupBarrier();
  }
  for (var back = 1u; back <= m; back++) {
    let c = m - back;
    if (lane == 0u) {
      pivot = direction[c] / hessian[entry(c, c)];
      direction[c] = pivot;
    }
    workgroupBarrier();
    if (lane < c) {
      direction[lane] -= hessian[entry(c, lane)] * pivot;
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
  if (lane < WIDTH) {
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
  for (var round = 0u; round < params.rounds; round++) {
    if (vectors <= 2u) {
      narrow_pass(k, start.labels, lane);
    } else {
      wide_pass(k, start.labels, lane);
    }
    workgroupBarrier();
    if (lane == 0u) {
      var objective = loss_total;
      for (var j = 0u; j < k; j++) {
        let w = point[j / 4u][j % 4u];
        objective += 0.5 * w * w;
      }
      current = judged(current, objective);
      decided = current.status;
    }
    let status = workgroupUniformLoad(&decided);
    if (status != ACCEPTED) {
      // A shorter step, unless there were too many.
      if (lane < m) {
        point[lane / 4u][lane % 4u] = accepted[lane] + current.step_length * direction[lane];
      }
      workgroupBarrier();
      if (status != TRIAL) {
        break;
      }
      continue;
    }
    if (lane < m) {
      accepted[lane] = point[lane / 4u][lane % 4u];
      if (lane < k) {
        gradient[lane] += accepted[lane];
        hessian[entry(lane, lane)] += 1.0;
      }
    }
    workgroupBarrier();
    factor_and_solve(m, lane);
    if (lane == 0u) {
      var slope = 0.0;
      for (var j = 0u; j < m; j++) {
        slope -= gradient[j] * direction[j];
      }
      current = advanced(current, slope, params.tolerance, params.most_iterations);
      decided = current.status;
    }
    if (lane < m) {
      point[lane / 4u][lane % 4u] = accepted[lane] + direction[lane];
    }
    if (workgroupUniformLoad(&decided) != TRIAL) {
      break;
    }
  }
  workgroupBarrier();
  if (lane < m) {
    theta[first + lane] = accepted[lane];
    step[first + lane] = direction[lane];
    trial[first + lane] = point[lane / 4u][lane % 4u];
  }
  if (lane == 0u) {
    problems[p] = current;
  }
  if (workgroupUniformLoad(&decided) == FINISHED) {
    for (var a = lane / 8u; a < m; a += THREADS / 8u) {
      for (var b = lane % 8u; b <= a; b += 8u) {
        factor[(first + a) * params.stride + b] = hessian[entry(a, b)];
      }
    }
  }
}
