// Loss, gradient and Hessian of every neuron's own probe at its trial point, over slices of rows.
//
//   z_i = w·x̃_ij + b;   sums[f, slice, ·, j] = Σ_{i in slice} (loss_i, r_i, r_i·x̃_ij, h_i, h_i·x̃_ij, h_i·x̃_ij², s)
//
// The last, s, is 1 when some value of the slice is not finite.
//
// A thread has one neuron of one feature, so neighbouring threads read neighbouring values of a row, and all of them have
// the same label. Features of one tile follow each other: they find it in the cache.
//
// x        [chunk rows × neurons] values in their storage type (lib/storage.wgsl)
// code     [2 × neurons] scales, then offsets; read with unsigned bytes only
// labels   [features × ⌈chunk rows/4⌉] four bytes a word
// probes   [features × neurons]
// sums     [features × slices of all chunks × 7 × neurons]

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
  // A multiple of 4.
  slice_rows: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn single_neuron_sums(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
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
  if (probes[place].problem.status != TRIAL) {
    return;
  }
  let weight_negative = probes[place].problem.weight_negative;
  let weight_positive = probes[place].problem.weight_positive;
  let w = probes[place].trial_weight;
  let b = probes[place].trial_intercept;
  let center = probes[place].center;
  let inverse_scale = probes[place].inverse_scale;
  var scale = 1.0;
  var offset = 0.0;
  if (storage_type == 2u) {
    scale = code[j];
    offset = code[d + j];
  }
  var loss = 0.0;
  var by_intercept = 0.0;
  var by_weight = 0.0;
  var h_11 = 0.0;
  var h_1x = 0.0;
  var h_xx = 0.0;
  var spoilt = false;
  let start = slice * params.slice_rows;
  let end = min(start + params.slice_rows, params.rows);
  // Four rows at a time, so that four loads are under way.
  for (var top = start; top < end; top += 4u) {
    let four = labels[feature * params.label_words + top / 4u];
    var words: array<u32, 4>;
    for (var i = 0u; i < 4u; i++) {
      words[i] = x[word_of(min(top + i, params.rows - 1u) * d + j)];
    }
    for (var i = 0u; i < 4u; i++) {
      let row = top + i;
      let label = label_in(four, row);
      if (label > 1u || row >= end) {
        continue;
      }
      let index = row * d + j;
      spoilt = spoilt || !is_finite(words[i], index);
      let value = (fma(scale, decode(words[i], index), offset) - center) * inverse_scale;
      let z = fma(w, value, b);
      let positive = label == 1u;
      let weight = select(weight_negative, weight_positive, positive);
      let terms = weight * logistic_row(select(-z, z, positive));
      let residual = select(terms.y, -terms.y, positive);
      loss += terms.x;
      by_intercept += residual;
      by_weight = fma(residual, value, by_weight);
      h_11 += terms.z;
      let bent = terms.z * value;
      h_1x += bent;
      h_xx = fma(bent, value, h_xx);
    }
  }
  let out = (feature * params.all_slices + params.first_slice + slice) * 7u * d + j;
  sums[out] = loss;
  sums[out + d] = by_intercept;
  sums[out + 2u * d] = by_weight;
  sums[out + 3u * d] = h_11;
  sums[out + 4u * d] = h_1x;
  sums[out + 5u * d] = h_xx;
  sums[out + 6u * d] = select(0.0, 1.0, spoilt);
}
