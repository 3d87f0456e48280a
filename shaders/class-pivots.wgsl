// A value near the mean of each row set, which class_moments subtracts so that its squares do not cancel.
//
//   pivots[s, j] = x[i_0, j] + (1/m) Σ_t (x[i_t, j] − x[i_0, j]),  i_t evenly spaced in set s, m = min(|s|, samples)
//
// Differences to the first row make the pivot of a constant neuron exact, and with it its sum of squares zero. Values that
// are not finite are passed over: they spoil the sums of their own classes, not a pivot that others share.
//
// x        [chunk rows × neurons] values in their storage type (lib/storage.wgsl)
// code     [2 × neurons] scales, then offsets; read with unsigned bytes only
// members  rows of the chunk, set after set
// offsets  [sets + 1]
// pivots   [sets × neurons]

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> members: array<u32>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> pivots: array<f32>;

struct Params {
  neurons: u32,
  sets: u32,
  samples: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn class_pivots(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let d = params.neurons;
  let tiles = (d + workgroup_size - 1u) / workgroup_size;
  let tile = linear_workgroup(group, grid);
  let row_set = tile / tiles;
  let j = (tile % tiles) * workgroup_size + lane;
  if (row_set >= params.sets || j >= d) {
    return;
  }
  var scale = 1.0;
  var offset = 0.0;
  if (storage_type == 2u) {
    scale = code[j];
    offset = code[d + j];
  }
  let start = offsets[row_set];
  let count = offsets[row_set + 1u] - start;
  let samples = min(count, params.samples);
  let spacing = count / max(samples, 1u);
  var first = 0.0;
  var sum = 0.0;
  var used = 0u;
  for (var t = 0u; t < samples; t++) {
    let index = members[start + t * spacing] * d + j;
    let word = x[word_of(index)];
    if (!is_finite(word, index)) {
      continue;
    }
    let value = fma(scale, decode(word, index), offset);
    if (used == 0u) {
      first = value;
    }
    sum += value - first;
    used++;
  }
  pivots[row_set * d + j] = first + sum / f32(max(used, 1u));
}
