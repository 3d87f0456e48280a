// Copies rows of a table: the embeddings of tokens or of positions, or some positions of the residual stream.
//
//   out[r, j] = scale·table[indices[r], j]   (+ its old value)
//
// A table in several parts takes one dispatch per part; each writes the rows that it holds.
//
// table    [table_rows × stride] in the type of the weights (lib/weights.wgsl)
// indices  [rows] rows of the whole table
// out      [rows × width]

@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

struct Params {
  rows: u32,
  width: u32,
  // Values from one row of the table to the next.
  stride: u32,
  // Rows [first_row, first_row + table_rows) of the whole table are in this part.
  first_row: u32,
  table_rows: u32,
  scale: f32,
  // 1: add to out.
  accumulate: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn gather_rows(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = linear_workgroup(group, grid) * workgroup_size + lane;
  if (item >= params.rows * params.width) {
    return;
  }
  // A row before this part wraps round to a large number.
  let row = indices[item / params.width] - params.first_row;
  if (row < params.table_rows) {
    let index = row * params.stride + item % params.width;
    var value = 0.0;
    if (weight_type == 0u) {
      value = bitcast<f32>(table[index]);
    } else {
      let pair = weight_values(vec2<u32>(table[index >> 1u], 0u));
      value = select(pair.x, pair.y, (index & 1u) == 1u);
    }
    value *= params.scale;
    out[item] = select(value, out[item] + value, params.accumulate == 1u);
  }
}
