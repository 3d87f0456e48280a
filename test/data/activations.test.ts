import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Activations, type ActivationsInput, type ActivationsOptions } from "../../src/data/activations.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations } from "../support/random-data.ts";

const failing = (code: string): Error => expect.objectContaining({ code }) as Error;
const six = Float32Array.of(1, 2, 3, 4, 5, 6);

describe("activations", () => {
  it("read the matrices that users hold, and borrow float32", () => {
    const forms: ActivationsInput[] = [
      { data: six, shape: [3, 2] },
      { data: six, dims: [3, 2] },
      { data: [...six], shape: [3, 2] },
      { data: Float64Array.from(six), shape: [3, 2] },
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      [Float32Array.of(1, 2), Float32Array.of(3, 4), Float32Array.of(5, 6)],
    ];
    for (const form of forms) {
      const x = Activations.from(form);
      expect([x.rows, x.neurons, x.dtype]).toEqual([3, 2, "f32"]);
      expect([...x.data]).toEqual([...six]);
    }
    expect(Activations.from({ data: six, shape: [3, 2] }).data).toBe(six);
    const x = Activations.from(forms[0]);
    expect(Activations.from(x)).toBe(x);
  });

  it.each<[string, ActivationsInput, ActivationsOptions, string]>([
    ["a length that does not match", { data: six, shape: [2, 2] }, {}, "shape"],
    ["one dimension", { data: six, shape: [6] }, {}, "shape"],
    ["three dimensions", { data: six, shape: [1, 3, 2] }, {}, "shape"],
    ["a fractional dimension", { data: six, shape: [1.5, 4] }, {}, "shape"],
    ["negative dimensions", { data: six, shape: [-3, -2] }, {}, "shape"],
    ["ragged rows", [[1], [1, 2]], {}, "shape"],
    ["no rows", [], {}, "empty-data"],
    ["no neurons", { data: [], shape: [3, 0] }, {}, "empty-data"],
    ["codes without a meaning", { data: Uint8Array.of(1), shape: [1, 1] }, {}, "option"],
    ["bits without a meaning", { data: Uint16Array.of(1), shape: [1, 1] }, {}, "option"],
    ["f16 from floats", { data: six, shape: [3, 2] }, { dtype: "f16" }, "option"],
    ["nested arrays as f16", [[1]], { dtype: "f16" }, "option"],
    ["u8 without its code", { data: Uint8Array.of(1), shape: [1, 1] }, { dtype: "u8" }, "shape"],
    ["groups of another length", { data: six, shape: [3, 2] }, { groups: [1] }, "shape"],
  ])("refuse %s", (_, input, options, code) => {
    expect(() => Activations.from(input, options)).toThrow(failing(code));
  });

  it("refuse storage types that are not known, and u8 for what no code stands for", () => {
    const x = randomActivations(1, 6, 5);
    expect(() => x.toStorage("f64" as "f32")).toThrow(failing("option"));
    expect(() => new Activations(new Uint8Array(2), [1, 2], { dtype: "bf16" as "u8" })).toThrow(
      failing("option"),
    );
    for (const value of [NaN, Infinity, -Infinity]) {
      const data = x.toFloat32().slice();
      data[13] = value;
      expect(() => new Activations(data, [6, 5]).toStorage("u8")).toThrow(/Row 2, neuron 3/);
    }
  });

  it("gather columns and select rows of any storage, with groups and tokens", () => {
    const base = randomActivations(1, 6, 5);
    for (const dtype of ["f32", "f16", "u8"] as const) {
      const stored = base.toStorage(dtype);
      const x = new Activations(stored.data, [6, 5], {
        dtype,
        ...(stored.code && { code: stored.code }),
        groups: ["a", "a", "b", "b", "c", "c"],
        provenance: { model: "m", tokens: ["t0", "t1", "t2", "t3", "t4", "t5"] },
      });
      const all = x.toFloat32();
      const gathered = x.gatherColumns([4, 4, 0]);
      expect([...gathered.data]).toEqual(
        Array.from({ length: 18 }, (_, at) => all[Math.floor(at / 3) * 5 + [4, 4, 0][at % 3]]),
      );
      expect(gathered.groups).toEqual(x.groups);
      const selected = x.selectRows([5, 0, 5]);
      expect(selected.dtype).toBe(dtype);
      expect(selected.groups).toEqual(["c", "a", "c"]);
      expect(selected.provenance).toEqual({ model: "m", tokens: ["t5", "t0", "t5"] });
      expect([...selected.toFloat32()]).toEqual([5, 0, 5].flatMap((i) => [...all.slice(i * 5, i * 5 + 5)]));
      const slice = x.slice(2, 4);
      expect([...slice.toFloat32()]).toEqual([...all.slice(10, 20)]);
      expect(slice.groups).toEqual(["b", "b"]);
      expect(slice.provenance.tokens).toEqual(["t2", "t3"]);
      expect(() => x.gatherColumns([5])).toThrow(failing("shape"));
      expect(() => x.gatherColumns([-1])).toThrow(failing("shape"));
      expect(() => x.selectRows([6])).toThrow(failing("shape"));
    }
  });

  it("u8 storage is off by half a level at most, and exact for a constant neuron", () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }), {
          minLength: 1,
          maxLength: 50,
        }),
        (values) => {
          const x = new Activations(Float32Array.from(values), [values.length, 1]);
          const low = Math.min(...x.data);
          const high = Math.max(...x.data);
          // Half a level, and the rounding of scale, offset and value in f32.
          const bound = (high - low) / 510 + 4 * 2 ** -24 * Math.max(Math.abs(low), Math.abs(high)) + 1e-38;
          expectClose(x.toStorage("u8").toFloat32(), x.data, bound);
        },
      ),
    );
    const constant = new Activations(Float32Array.of(3.7, 3.7), [2, 1]);
    expect([...constant.toStorage("u8").toFloat32()]).toEqual([...constant.data]);
  });

  it("f16 storage rounds to 2⁻¹¹ of a value", () => {
    const x = randomActivations(2, 40, 5);
    expectClose(x.toStorage("f16").toFloat32(), x.data, (at) => 2 ** -11 * Math.abs(x.data[at]) + 2 ** -25);
    expect(x.toStorage("f32")).toBe(x);
  });

  it("find the first value that is not finite, in any storage", () => {
    const x = randomActivations(3, 4, 3);
    for (const dtype of ["f32", "f16", "u8"] as const) {
      expect(() => x.toStorage(dtype).assertFinite()).not.toThrow();
    }
    const broken = x.toFloat32().slice();
    broken[7] = Infinity;
    const bad = new Activations(broken, [4, 3]);
    expect(() => bad.assertFinite()).toThrow(/Row 2, neuron 1 is Infinity/);
    expect(() => bad.toStorage("f16").assertFinite()).toThrow(/Row 2, neuron 1 is Infinity/);
    expect(() => bad.toStorage("u8").assertFinite()).toThrow(failing("non-finite"));
    broken[7] = NaN;
    expect(() => bad.assertFinite()).toThrow(/NaN/);
  });
});
