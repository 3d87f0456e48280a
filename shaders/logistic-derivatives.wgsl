// Loss and its first two derivatives by the decision value, row by row, at each problem's trial point.
//
//   z_i = w·x̃_i + b,  m_i = s_i·z_i
//   losses[p, first_block + block] = Σ_{i in block} W_i·log(1 + exp(−m_i))
//   derivatives[p, i] = (−s_i·W_i·σ(−m_i),  W_i·σ(m_i)·σ(−m_i))
//
// pool         [columns × n] gathered columns of a chunk of n rows, column-major
// problems     [problems]
// support      columns, centres and scales of each problem's support, problem after problem
// labels       [features × ⌈n/4⌉] of the chunk, four bytes a word
// trial        [problems × stride] parameters to evaluate
// derivatives  [problems × n]
// losses       [problems × all_blocks]; a block being workgroup_size rows

@group(0) @binding(0) var<storage, read> pool: array<f32>;
@group(0) @binding(1) var<storage, read> problems: array<Problem>;
@group(0) @binding(2) var<storage, read> support: array<SupportColumn>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read> trial: array<f32>;
@group(0) @binding(5) var<storage, read_write> derivatives: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;

struct Params {
  rows: u32,
  problem_count: u32,
  stride: u32,
  // Blocks of this chunk, of all chunks, and of the chunks before.
  blocks: u32,
  all_blocks: u32,
  first_block: u32,
}
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn logistic_derivatives(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = linear_workgroup(group, grid);
  let p = tile / params.blocks;
  let chunk = tile % params.blocks;
  if (p >= params.problem_count) {
    return;
  }
  let problem = problems[p];
  if (problem.status != TRIAL) {
    return;
  }
  let row = chunk * workgroup_size + lane;
  var loss = 0.0;
  if (row < params.rows) {
    let label = label_in(labels[problem.labels + row / 4u], row);
    var result = vec2<f32>();
    if (label <= 1u) {
      let first = p * params.stride;
      var z = trial[first + problem.columns];
      for (var j = 0u; j < problem.columns; j++) {
        let s = support[problem.support + j];
        let value = (pool[s.column * params.rows + row] - s.center) * s.inverse_scale;
        z += trial[first + j] * value;
      }
      let positive = label == 1u;
      let weight = select(problem.weight_negative, problem.weight_positive, positive);
      let terms = logistic_row(select(-z, z, positive));
      loss = weight * terms.x;
      result = weight * vec2<f32>(select(terms.y, -terms.y, positive), terms.z);
    }
    derivatives[p * params.rows + row] = result;
  }
  let sum = workgroup_sum(loss, lane);
  if (lane == 0u) {
    losses[p * params.all_blocks + params.first_block + chunk] = sum;
  }
}
