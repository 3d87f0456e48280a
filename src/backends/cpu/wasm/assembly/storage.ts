/** Stored activations to four f32 lanes: f32 as it is, f16 exactly, u8 through its neuron's affine code. */

/** Storage types, as in kernel-rows.ts. */
export const F32: i32 = 0;
export const F16: i32 = 1;
export const U8: i32 = 2;

/** Bytes of one value, as a shift. */
@inline
export function storageShift(dtype: i32): i32 {
  return 2 - dtype;
}

/**
 * Four halves, zero-extended in i32 lanes. Shifted into a float's fields, a half is 2⁻¹¹² of its value, subnormal halves
 * included, so one exact product decodes it; infinities and NaN get their exponent back.
 */
@inline
export function decodeHalves(h: v128): v128 {
  const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16);
  const magnitude = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13);
  const value = f32x4.mul(magnitude, f32x4.splat(5.192296858534828e33));
  const special = v128.and(i32x4.ge_s(magnitude, i32x4.splat(0x7c00 << 13)), i32x4.splat(0x7f800000));
  return v128.or(v128.or(value, special), sign);
}

/** Four halves in memory. */
@inline
export function loadHalves(p: usize): v128 {
  return decodeHalves(v128.load16x4_u(p));
}

/** Four codes in memory, as floats: 0 … 255. */
@inline
export function loadCodes(p: usize): v128 {
  return f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(p))));
}

/** One value: row pointer, column, and for u8 the tables of scale and offset. */
@inline
export function loadValue(dtype: i32, row: usize, column: usize, scale: usize, offset: usize): f32 {
  if (dtype == F32) return load<f32>(row + (column << 2));
  if (dtype == F16) return f32x4.extract_lane(decodeHalves(i32x4.splat(<i32>load<u16>(row + (column << 1)))), 0);
  return load<f32>(scale + (column << 2)) * <f32>load<u8>(row + column) + load<f32>(offset + (column << 2));
}
