// Combines the rows of each segment into one row: mean, maximum or last.
//
//   out[r, j] = max | last over i in members[offsets[r] .. offsets[r+1]) of x[i, j],  or their sum/divisors[r]
//
// A matrix in several row chunks is combined chunk by chunk: each dispatch takes the members inside its chunk and adds
// them to what earlier chunks left in out.
//
// x         [chunk rows × neurons] values in their storage type (lib/storage.wgsl)
// code      [2 × neurons] scales, then offsets; read with unsigned bytes only
// members   rows of the whole matrix, segment after segment
// offsets   [segments + 1]
// divisors  [segments] of a mean: the segment's rows, or those of the longer segment that it is a part of
// out       [segments × neurons]; only rows [0, segments) of this dispatch's part

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> members: array<u32>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
@group(0) @binding(4) var<storage, read> divisors: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

struct Params {
  neurons: u32,
  segments: u32,
  // First segment of this part of out.
  first_segment: u32,
  // Rows [first_row, first_row + chunk_rows) of the matrix are in x.
  first_row: u32,
  chunk_rows: u32,
  // 1 for the first chunk: out holds nothing yet.
  first_chunk: u32,
}
@group(0) @binding(6) var<uniform> params: Params;

override workgroup_size: u32 = 64u;
// 0 mean, 1 maximum, 2 last.
override aggregation: u32 = 0u;

const LOWEST: f32 = -3.4028234e38;

@compute @workgroup_size(workgroup_size)
fn aggregate_rows(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let d = params.neurons;
  let tiles = (d + workgroup_size - 1u) / workgroup_size;
  let tile = linear_workgroup(group, grid);
  let segment = tile / tiles;
  let j = (tile % tiles) * workgroup_size + lane;
  if (segment >= params.segments || j >= d) {
    return;
  }
  let start = offsets[params.first_segment + segment];
  let end = offsets[params.first_segment + segment + 1u];
  let place = segment * d + j;
  var scale = 1.0;
  var offset = 0.0;
  if (storage_type == 2u) {
    scale = code[j];
    offset = code[d + j];
  }
  var sum = 0.0;
  var highest = LOWEST;
  var last = 0.0;
  if (params.first_chunk == 0u) {
    highest = out[place];
    last = out[place];
  }
  for (var m = start; m < end; m++) {
    if (aggregation == 2u && m + 1u < end) {
      continue;
    }
    let row = members[m] - params.first_row;
    // A member before the chunk wraps round to a large number.
    if (row >= params.chunk_rows) {
      continue;
    }
    let index = row * d + j;
    let value = fma(scale, decode(x[word_of(index)], index), offset);
    sum += value;
    highest = max(highest, value);
    last = value;
  }
  if (aggregation == 0u) {
    let before = select(out[place], 0.0, params.first_chunk == 1u);
    out[place] = before + sum / divisors[params.first_segment + segment];
  } else {
    out[place] = select(last, highest, aggregation == 1u);
  }
}
