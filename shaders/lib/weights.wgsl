// Weights as the device keeps them.
//   weight_type = 0: float32;  1: binary16;  2: bfloat16; the latter two in pairs, the first in the low bits of a word.

override weight_type: u32 = 0u;

/// Four values of 16 bits. By integers: unpack2x16float may take numbers below 2^-14 for zero.
fn weight_values(words: vec2<u32>) -> vec4<f32> {
  let low = words & vec2<u32>(0xffffu);
  let high = words >> vec2<u32>(16u);
  let bits = vec4<u32>(low.x, high.x, low.y, high.y);
  if (weight_type == 2u) {
    return bitcast<vec4<f32>>(bits << vec4<u32>(16u));
  }
  let magnitude = bits & vec4<u32>(0x7fffu);
  // The exponent is one too large: half of it is the number, or what is left without the leading one that it does not have.
  let twice = bitcast<vec4<f32>>(magnitude * 8192u + vec4<u32>(0x38800000u));
  let value = select(0.5 * twice, twice - 6.103515625e-5, magnitude < vec4<u32>(0x400u));
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(value) | ((bits & vec4<u32>(0x8000u)) << vec4<u32>(16u)));
}
