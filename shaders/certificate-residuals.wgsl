// Loss of each row and its derivative by the decision value, in double arithmetic, at each problem's point.
//
//   z_i = v·x_i + c,  m_i = s_i·z_i,  residuals[p, i] = −s_i·W_i·σ(−m_i)
//   totals[p, first_block + block] = (Σ_{i in block} W_i·log(1 + exp(−m_i)), number of rows with weight and m_i ≤ 0)
//
// pool          [columns × n] gathered columns of a chunk of n rows, column-major
// problems      [all problems]
// support       columns, centres and scales of each problem's support, problem after problem
// labels        [features × ⌈n/4⌉] of the chunk, four bytes a word
// raw           [all problems × stride] doubles v_1 … v_k, c
// residuals     [problem_count × n] doubles
// totals        [problem_count × blocks of all chunks] (high, low, violations, 0); a block is block_rows rows

@group(0) @binding(0) var<storage, read> pool: array<f32>;
@group(0) @binding(1) var<storage, read> problems: array<Problem>;
@group(0) @binding(2) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read> raw: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> residuals: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> totals: array<vec4<f32>>;

struct Params {
  rows: u32,
  // Problems [first_problem, first_problem + problem_count) of all.
  first_problem: u32,
  problem_count: u32,
  stride: u32,
  // Blocks of this chunk, of all chunks, and of the chunks before.
  blocks: u32,
  all_blocks: u32,
  first_block: u32,
  block_rows: u32,
  // 0; see lib/double.wgsl.
  zero: u32,
}
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn certificate_residuals(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  double_zero = params.zero;
  let tile = linear_workgroup(group, grid);
  let local = tile / params.blocks;
  let at_block = tile % params.blocks;
  if (local >= params.problem_count) {
    return;
  }
  let p = params.first_problem + local;
  let problem = problems[p];
  if (problem.status != FINISHED && problem.status != LAST) {
    return;
  }
  let first = p * params.stride;
  let start = at_block * params.block_rows;
  let end = min(start + params.block_rows, params.rows);
  let weight_negative = vec2<f32>(problem.weight_negative, problem.weight_negative_low);
  let weight_positive = vec2<f32>(problem.weight_positive, problem.weight_positive_low);
  var loss_negative = no_loss();
  var loss_positive = no_loss();
  var violations = 0.0;
  for (var row = start + lane; row < end; row += workgroup_size) {
    let label = label_in(labels[problem.labels + row / 4u], row);
    var residual = vec2<f32>();
    if (label <= 1u) {
      var z = raw[first + problem.columns];
      for (var j = 0u; j < problem.columns; j++) {
        let value = pool[support[problem.support + j].column * params.rows + row];
        z = double_add(z, double_scale(raw[first + j], value));
      }
      let positive = label == 1u;
      let margin = select(-z, z, positive);
      let terms = row_of_margin(margin);
      if (positive) {
        loss_positive = with_loss(loss_positive, terms);
        residual = -double_multiply(terms.wrong, weight_positive);
      } else {
        loss_negative = with_loss(loss_negative, terms);
        residual = double_multiply(terms.wrong, weight_negative);
      }
      violations += select(0.0, 1.0, !(margin.x > 0.0));
    }
    residuals[local * params.rows + row] = residual;
  }
  let objective = double_add(
    double_multiply(total_loss(loss_negative), weight_negative),
    double_multiply(total_loss(loss_positive), weight_positive),
  );
  let sum = workgroup_double_sum(objective, lane);
  let wrong = workgroup_double_sum(vec2<f32>(violations, 0.0), lane);
  if (lane == 0u) {
    totals[local * params.all_blocks + params.first_block + at_block] = vec4<f32>(sum, wrong.x, 0.0);
  }
}
