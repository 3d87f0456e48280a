// Loss and gradient of every neuron's own probe in double arithmetic, over slices of rows.
//
//   z_i = v·x_ij + c,  v = w·inverse_scale,  c = b − v·center;   sums[f, slice, ·, j] = Σ_{i in slice} (loss_i, r_i, r_i·x_ij)
//
// Threads, features and loads as in single_neuron_sums. Each sum is a double: high part, then low part.
//
// x, code, labels, probes  as in single_neuron_sums
// sums  [features × slices of all chunks × 6 × neurons]

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> probes: array<NeuronProbe>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

struct Params {
  rows: u32,
  neurons: u32,
  features: u32,
  // Neurons [first_neuron, last_neuron) take part.
  first_neuron: u32,
  last_neuron: u32,
  label_words: u32,
  // Slices of this chunk, of all chunks, and of the chunks before.
  slices: u32,
  all_slices: u32,
  first_slice: u32,
  slice_rows: u32,
  // 0; see lib/double.wgsl.
  zero: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn single_neuron_certificate(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  double_zero = params.zero;
  let d = params.neurons;
  let tiles = (params.last_neuron - params.first_neuron + workgroup_size - 1u) / workgroup_size;
  let item = linear_workgroup(group, grid);
  let feature = item % params.features;
  let tile = (item / params.features) % tiles;
  let slice = item / (params.features * tiles);
  let j = params.first_neuron + tile * workgroup_size + lane;
  if (slice >= params.slices || j >= params.last_neuron) {
    return;
  }
  let place = feature * d + j;
  let probe = probes[place];
  if (probe.problem.status != FINISHED && probe.problem.status != LAST) {
    return;
  }
  let v = double_multiply(
    vec2<f32>(probe.weight, probe.weight_low),
    vec2<f32>(probe.inverse_scale, probe.inverse_scale_low),
  );
  let c = double_add(
    vec2<f32>(probe.intercept, probe.intercept_low),
    -double_multiply(v, vec2<f32>(probe.center, probe.center_low)),
  );
  let weight_negative = vec2<f32>(probe.problem.weight_negative, probe.problem.weight_negative_low);
  let weight_positive = vec2<f32>(probe.problem.weight_positive, probe.problem.weight_positive_low);
  var scale = 1.0;
  var offset = 0.0;
  if (storage_type == 2u) {
    scale = code[j];
    offset = code[d + j];
  }
  var loss_negative = no_loss();
  var loss_positive = no_loss();
  var by_constant = vec2<f32>();
  var by_value = vec2<f32>();
  let start = slice * params.slice_rows;
  let end = min(start + params.slice_rows, params.rows);
  for (var row = start; row < end; row++) {
    let label = label_in(labels[feature * params.label_words + row / 4u], row);
    if (label > 1u) {
      continue;
    }
    let index = row * d + j;
    let value = fma(scale, decode(x[word_of(index)], index), offset);
    let z = double_add(c, double_scale(v, value));
    let positive = label == 1u;
    let terms = row_of_margin(select(-z, z, positive));
    // The same for all neighbouring threads.
    var residual: vec2<f32>;
    if (positive) {
      loss_positive = with_loss(loss_positive, terms);
      residual = -double_multiply(terms.wrong, weight_positive);
    } else {
      loss_negative = with_loss(loss_negative, terms);
      residual = double_multiply(terms.wrong, weight_negative);
    }
    by_constant = double_add(by_constant, residual);
    by_value = double_add(by_value, double_scale(residual, value));
  }
  let loss = double_add(
    double_multiply(total_loss(loss_negative), weight_negative),
    double_multiply(total_loss(loss_positive), weight_positive),
  );
  let out = (feature * params.all_slices + params.first_slice + slice) * 6u * d + j;
  sums[out] = loss.x;
  sums[out + d] = loss.y;
  sums[out + 2u * d] = by_constant.x;
  sums[out + 3u * d] = by_constant.y;
  sums[out + 4u * d] = by_value.x;
  sums[out + 5u * d] = by_value.y;
}
