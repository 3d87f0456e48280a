// Cross-entropy of rows of logits, some columns of the vocabulary at a time; one workgroup per row.
//
//   losses[r] = log Σ_v exp(logits[r, v]) − logits[r, targets[r]]
//
// over the columns so far, which come in order. Sums are of exp(logit − largest), and the largest may grow from one dispatch
// to the next.
//
// logits   [rows × columns]
// targets  [rows]
// running  [rows × 3]: largest logit, sum, logit of the target
// losses   [rows]; a loss once the target and all columns have been seen

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> running: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

struct Params {
  rows: u32,
  columns: u32,
  // Entries of the vocabulary before these columns.
  first: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn token_losses(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = linear_workgroup(group, grid);
  if (row >= params.rows) {
    return;
  }
  let start = row * params.columns;
  var highest = logits[start];
  for (var j = lane; j < params.columns; j += workgroup_size) {
    highest = max(highest, logits[start + j]);
  }
  var high = workgroup_max(highest, lane);
  var part = 0.0;
  for (var j = lane; j < params.columns; j += workgroup_size) {
    part += exp(logits[start + j] - high);
  }
  var total = workgroup_sum(part, lane);
  if (lane > 0u) {
    return;
  }
  let state = 3u * row;
  var own = 0.0;
  if (params.first > 0u) {
    let before = running[state];
    let largest = max(before, high);
    total = total * exp(high - largest) + running[state + 1u] * exp(before - largest);
    high = largest;
    own = running[state + 2u];
  }
  // A target before these columns wraps round to a large number.
  let place = targets[row] - params.first;
  if (place < params.columns) {
    own = logits[start + place];
  }
  running[state] = high;
  running[state + 1u] = total;
  running[state + 2u] = own;
  losses[row] = log(total) + high - own;
}
