// Decides about each problem's point and takes a step with the factor that float32 left: one workgroup per problem.
//
//   g_j = (G_j − center_j·G_c)·inverse_scale_j + w_j,  g_b = G_c,   G = Σ slopes
//   decrement = |L⁻¹g|²/(2·C·Σω),   θ ← θ − (L·Lᵀ)⁻¹g
//
// The factor L belongs to a Hessian close by. The decrement certifies a point when no pivot of L has lost more than a
// factor of 1000 to cancellation, a step has made the decrement fall to less than a quarter, which a wrong L would not,
// and it is half the tolerance at most. The point after that step is taken where the tolerance leaves digits to gain.
// Everything else is refused, and left to the host. The decision value of a row is written in the stored values,
// z = v·x + c with v_j = w_j·inverse_scale_j and c = b − Σ v_j·center_j, so that nothing is rounded row by row.
//
// problems  [all problems]
// support   columns, centres and scales of each problem's support, problem after problem
// totals    [problem_count × all_blocks] of certificate_residuals
// slopes    [problem_count × stride × all_slices] of certificate_gradient
// factor    [all problems × factor_stride] L, lower triangle, rows `stride` apart
// theta     [2 × all problems × stride] w_1 … w_k, b: high parts, then low parts
// raw       [all problems × stride] doubles v_1 … v_k, c of theta
// step      [all problems × stride] room to work

@group(0) @binding(0) var<storage, read_write> problems: array<Problem>;
@group(0) @binding(1) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(2) var<storage, read> totals: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> slopes: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> factor: array<f32>;
@group(0) @binding(5) var<storage, read_write> theta: array<f32>;
@group(0) @binding(6) var<storage, read_write> raw: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> step: array<f32>;

struct Params {
  // Problems [first_problem, first_problem + problem_count) of all.
  first_problem: u32,
  problem_count: u32,
  all_problems: u32,
  stride: u32,
  factor_stride: u32,
  all_blocks: u32,
  all_slices: u32,
  most_iterations: u32,
  // 1: only compute raw from theta, before the first round.
  prepare: u32,
  // 0; see lib/double.wgsl.
  zero: u32,
  tolerance: f32,
}
@group(0) @binding(8) var<uniform> params: Params;

const LEAST_PIVOT: f32 = 1e-3;
const MOST_ROUNDS: u32 = 7u;
// A point whose decrement is this multiple of the tolerance's square needs no further step.
const PLENTY: f32 = 1e6;

var<workgroup> current: Problem;
var<workgroup> solved: f32;
var<workgroup> decided: u32;
var<workgroup> weak_pivots: atomic<u32>;

fn parameter(place: u32) -> vec2<f32> {
  return vec2<f32>(theta[place], theta[params.all_problems * params.stride + place]);
}

@compute @workgroup_size(workgroup_size)
fn certificate_step(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  double_zero = params.zero;
  let local = linear_workgroup(group, grid);
  if (local >= params.problem_count) {
    return;
  }
  let p = params.first_problem + local;
  if (lane == 0u) {
    current = problems[p];
  }
  let problem = workgroupUniformLoad(&current);
  if (problem.status != FINISHED && problem.status != LAST) {
    return;
  }
  let k = problem.columns;
  let m = k + 1u;
  let first = p * params.stride;
  let base = p * params.factor_stride;

  if (params.prepare == 0u) {
    // The gradient, and how far its square comes.
    let own_slopes = local * params.stride;
    let last_slope = (own_slopes + k) * params.all_slices;
    var by_constant = vec2<f32>();
    for (var s = 0u; s < params.all_slices; s++) {
      by_constant = double_add(by_constant, slopes[last_slope + s]);
    }
    var squared = vec2<f32>();
    var penalty = vec2<f32>();
    for (var j = lane; j < m; j += workgroup_size) {
      var g = by_constant;
      if (j < k) {
        var by_column = vec2<f32>();
        for (var s = 0u; s < params.all_slices; s++) {
          by_column = double_add(by_column, slopes[(own_slopes + j) * params.all_slices + s]);
        }
        let column = support[problem.support + j];
        let center = vec2<f32>(column.center, column.center_low);
        let inverse_scale = vec2<f32>(column.inverse_scale, column.inverse_scale_low);
        let w = parameter(first + j);
        g = double_add(double_multiply(double_add(by_column, -double_multiply(by_constant, center)), inverse_scale), w);
        penalty = double_add(penalty, 0.5 * double_multiply(w, w));
      }
      squared = double_add(squared, double_multiply(g, g));
      step[first + j] = g.x;
    }
    if (lane == 0u) {
      atomicStore(&weak_pivots, 0u);
    }
    storageBarrier();
    workgroupBarrier();
    for (var r = lane; r < m; r += workgroup_size) {
      var diagonal = 0.0;
      for (var c = 0u; c <= r; c++) {
        let entry = factor[base + r * params.stride + c];
        diagonal += entry * entry;
      }
      let pivot = factor[base + r * params.stride + r];
      if (!(pivot * pivot >= LEAST_PIVOT * diagonal)) {
        atomicAdd(&weak_pivots, 1u);
      }
    }

    // L·y = g in place in step; the decrement is |y|².
    for (var c = 0u; c < m; c++) {
      if (lane == 0u) {
        solved = step[first + c] / factor[base + c * params.stride + c];
        step[first + c] = solved;
      }
      workgroupBarrier();
      let y = solved;
      for (var r = c + 1u + lane; r < m; r += workgroup_size) {
        step[first + r] -= factor[base + r * params.stride + c] * y;
      }
      storageBarrier();
      workgroupBarrier();
    }
    var part = vec2<f32>();
    for (var r = lane; r < m; r += workgroup_size) {
      part = double_add(part, exact_product(step[first + r], step[first + r]));
    }
    var objective = vec2<f32>();
    var violations = 0.0;
    for (var b = lane; b < params.all_blocks; b += workgroup_size) {
      let total = totals[local * params.all_blocks + b];
      objective = double_add(objective, total.xy);
      violations += total.z;
    }
    let decrement = workgroup_double_sum(part, lane).x / (2.0 * problem.total_weight);
    let norm = sqrt(workgroup_double_sum(squared, lane).x);
    let value = workgroup_double_sum(double_add(objective, penalty), lane);
    let wrong = workgroup_double_sum(vec2<f32>(violations, 0.0), lane).x;

    let sound = atomicLoad(&weak_pivots) == 0u;
    let fell = decrement <= 0.25 * problem.decrement;
    let reached = decrement <= 0.5 * params.tolerance;
    var steps = problem.iterations;
    var status = problem.status;
    if (problem.status == LAST) {
      status = select(REFUSED, CERTIFIED, reached);
    } else if (!sound || (!fell && problem.rounds > 0u)) {
      status = REFUSED;
    } else if (fell && reached) {
      status = select(LAST, CERTIFIED, decrement <= PLENTY * params.tolerance * params.tolerance);
    } else if (problem.rounds + 1u >= MOST_ROUNDS || steps >= params.most_iterations || !(decrement < 1e30)) {
      status = REFUSED;
    }
    if (status < CERTIFIED) {
      steps++;
    }
    if (lane == 0u) {
      problems[p].status = status;
      problems[p].iterations = steps;
      problems[p].rounds = problem.rounds + 1u;
      problems[p].decrement = decrement;
      problems[p].gradient_norm = norm;
      problems[p].objective_high = value.x;
      problems[p].objective_low = value.y;
      problems[p].violations = wrong;
      decided = status;
    }
    if (workgroupUniformLoad(&decided) >= CERTIFIED) {
      return;
    }

    // Lᵀ·step = y, then the step is taken.
    for (var back = 0u; back < m; back++) {
      let c = k - back;
      if (lane == 0u) {
        solved = step[first + c] / factor[base + c * params.stride + c];
        step[first + c] = solved;
      }
      workgroupBarrier();
      let x = solved;
      for (var r = lane; r < c; r += workgroup_size) {
        step[first + r] -= factor[base + c * params.stride + r] * x;
      }
      storageBarrier();
      workgroupBarrier();
    }
    for (var j = lane; j < m; j += workgroup_size) {
      let moved = double_add(parameter(first + j), vec2<f32>(-step[first + j], 0.0));
      theta[first + j] = moved.x;
      theta[params.all_problems * params.stride + first + j] = moved.y;
    }
    storageBarrier();
    workgroupBarrier();
  }

  var shift = vec2<f32>();
  for (var j = lane; j < k; j += workgroup_size) {
    let column = support[problem.support + j];
    let v = double_multiply(parameter(first + j), vec2<f32>(column.inverse_scale, column.inverse_scale_low));
    raw[first + j] = v;
    shift = double_add(shift, double_multiply(v, vec2<f32>(column.center, column.center_low)));
  }
  let total_shift = workgroup_double_sum(shift, lane);
  if (lane == 0u) {
    raw[first + k] = double_add(parameter(first + k), -total_shift);
  }
}
