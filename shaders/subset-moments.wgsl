// Shifted sums of every neuron over subsets of the rows that overlap as they like, sixteen subsets to a thread.
//
//   v = x[i, j] − pivots[j];   partial[s, slice, 0, j] = Σ_{i in slice, in subset s} v,   partial[s, slice, 1, j] = Σ … v²
//
// For many label sets at once: one read of x serves sixteen of them, and groups of sixteen follow each other, so that they
// find their tile of x in the cache. Whether a row belongs to a subset is one bit, the same for all neighbouring threads,
// which read neighbouring values. Four rows at a time keep loads in flight.
//
// x        [chunk rows × neurons] values in their storage type (lib/storage.wgsl)
// code     [2 × neurons] scales, then offsets; read with unsigned bytes only
// subsets  [groups × 2·⌈rows/4⌉] words of two rows with 16 bits each; bit s of group g is subset 16·g + s
// pivots   [neurons]
// partial  [subsets × slices × 2 × neurons]

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> subsets: array<u32>;
@group(0) @binding(3) var<storage, read> pivots: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;

struct Params {
  rows: u32,
  neurons: u32,
  subset_count: u32,
  slices: u32,
  // A multiple of 4.
  slice_rows: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

const NONE = vec4<f32>();

/// Which of the four subsets from `first` on have the row of these bits.
fn chosen(bits: u32, first: u32) -> vec4<bool> {
  return ((vec4<u32>(bits >> first) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) == vec4<u32>(1u);
}

@compute @workgroup_size(workgroup_size)
fn subset_moments(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let d = params.neurons;
  let groups = (params.subset_count + 15u) / 16u;
  let tiles = (d + workgroup_size - 1u) / workgroup_size;
  let item = linear_workgroup(group, grid);
  let at_group = item % groups;
  let tile = (item / groups) % tiles;
  let slice = item / (groups * tiles);
  let j = tile * workgroup_size + lane;
  if (slice >= params.slices || j >= d) {
    return;
  }
  var scale = 1.0;
  var offset = 0.0;
  if (storage_type == 2u) {
    scale = code[j];
    offset = code[d + j];
  }
  let pivot = pivots[j];
  var sums_0 = NONE;
  var sums_1 = NONE;
  var sums_2 = NONE;
  var sums_3 = NONE;
  var squares_0 = NONE;
  var squares_1 = NONE;
  var squares_2 = NONE;
  var squares_3 = NONE;
  let start = slice * params.slice_rows;
  let end = min(start + params.slice_rows, params.rows);
  let words_per_group = 2u * ((params.rows + 3u) / 4u);
  for (var top = start; top < end; top += 4u) {
    let at = at_group * words_per_group + top / 2u;
    let bits = vec2<u32>(subsets[at], subsets[at + 1u]);
    if ((bits.x | bits.y) == 0u) {
      continue;
    }
    // Rows past the end are in no subset.
    let rows = min(vec4<u32>(top, top + 1u, top + 2u, top + 3u), vec4<u32>(params.rows - 1u));
    let index = rows * d + j;
    let stored = vec4<f32>(
      decode(x[word_of(index.x)], index.x),
      decode(x[word_of(index.y)], index.y),
      decode(x[word_of(index.z)], index.z),
      decode(x[word_of(index.w)], index.w),
    );
    let shifted = fma(vec4<f32>(scale), stored, vec4<f32>(offset)) - pivot;
    for (var i = 0u; i < 4u; i++) {
      let row_bits = (select(bits.x, bits.y, i > 1u) >> (16u * (i & 1u))) & 0xffffu;
      let v = vec4<f32>(shifted[i]);
      let square = v * v;
      let in_0 = chosen(row_bits, 0u);
      let in_1 = chosen(row_bits, 4u);
      let in_2 = chosen(row_bits, 8u);
      let in_3 = chosen(row_bits, 12u);
      sums_0 += select(NONE, v, in_0);
      sums_1 += select(NONE, v, in_1);
      sums_2 += select(NONE, v, in_2);
      sums_3 += select(NONE, v, in_3);
      squares_0 += select(NONE, square, in_0);
      squares_1 += select(NONE, square, in_1);
      squares_2 += select(NONE, square, in_2);
      squares_3 += select(NONE, square, in_3);
    }
  }
  let sums = array<vec4<f32>, 4>(sums_0, sums_1, sums_2, sums_3);
  let squares = array<vec4<f32>, 4>(squares_0, squares_1, squares_2, squares_3);
  for (var s = 0u; s < 16u; s++) {
    let subset = 16u * at_group + s;
    if (subset < params.subset_count) {
      let place = (subset * params.slices + slice) * 2u * d + j;
      partial[place] = sums[s / 4u][s % 4u];
      partial[place + d] = squares[s / 4u][s % 4u];
    }
  }
}
