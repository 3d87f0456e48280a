// Copies some columns of some rows as float32, row-major or column-major.
//
//   out[first_out*row_stride + r*row_stride + c*column_stride] = x[rows[r], columns[c]]
//
// A workgroup moves a tile of rows and columns through its memory: threads that follow each other read along a row of x
// and write along whatever lies close together in out.
//
// x        [chunk rows × neurons] values in their storage type (lib/storage.wgsl)
// code     [2 × neurons] scales, then offsets; read with unsigned bytes only
// rows     [row_count] rows of the chunk
// columns  [column_count]
// out      strided as above

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> columns: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

struct Params {
  neurons: u32,
  row_count: u32,
  column_count: u32,
  first_out: u32,
  row_stride: u32,
  column_stride: u32,
}
@group(0) @binding(5) var<uniform> params: Params;

override workgroup_size: u32 = 128u;

// Values of a tile, and columns of it at most.
const TILE: u32 = 512u;
const MOST_ACROSS: u32 = 16u;
// A full tile's rows have one value to spare, which keeps threads that go down a column in different banks.
var<workgroup> values: array<f32, 544>;

@compute @workgroup_size(workgroup_size)
fn gather_columns(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let across = min(params.column_count, MOST_ACROSS);
  let down = TILE / across;
  let pitch = across + across / MOST_ACROSS;
  let tiles_across = (params.column_count + across - 1u) / across;
  let tile = linear_workgroup(group, grid);
  let first_row = (tile / tiles_across) * down;
  let first_column = (tile % tiles_across) * across;
  if (first_row >= params.row_count) {
    return;
  }
  for (var item = lane; item < down * across; item += workgroup_size) {
    let r = first_row + item / across;
    let c = first_column + item % across;
    if (r < params.row_count && c < params.column_count) {
      let column = columns[c];
      let index = rows[r] * params.neurons + column;
      var value = decode(x[word_of(index)], index);
      if (storage_type == 2u) {
        value = fma(code[column], value, code[params.neurons + column]);
      }
      values[(item / across) * pitch + item % across] = value;
    }
  }
  workgroupBarrier();
  let by_row = params.column_stride == 1u;
  for (var item = lane; item < down * across; item += workgroup_size) {
    let r = select(item % down, item / across, by_row);
    let c = select(item / down, item % across, by_row);
    if (first_row + r < params.row_count && first_column + c < params.column_count) {
      let place = (params.first_out + first_row + r) * params.row_stride + (first_column + c) * params.column_stride;
      out[place] = values[r * pitch + c];
    }
  }
}
