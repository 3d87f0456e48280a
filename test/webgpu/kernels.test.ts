/** Gates for every kernel under src/backends/webgpu: it compiles, and its description says what its WGSL says. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { WgslReflect } from "wgsl_reflect/wgsl_reflect.module.js";
import { ComputeDevice } from "../../src/backends/webgpu/device.ts";
import {
  COLUMN_WORDS,
  ColumnWord,
  NEURON_WORDS,
  NeuronWord,
  PROBLEM_WORDS,
  ProblemWord,
} from "../../src/backends/webgpu/logistic-layout.ts";
import { paramBytes, type Kernel } from "../../src/backends/webgpu/kernel.ts";
import { WEIGHT_CODE } from "../../src/backends/webgpu/weight-matrix.ts";
import { openNullDevice } from "../support/gpu.ts";

const ROOT = join(import.meta.dirname, "../..");

const BACKEND = join(ROOT, "src/backends/webgpu");

/** Every kernel in an array that a file under src/backends/webgpu exports. */
const kernels: Kernel[] = [];
for (const name of readdirSync(BACKEND)) {
  const module = (await import(/* @vite-ignore */ join(BACKEND, name))) as Record<string, unknown>;
  for (const list of Object.values(module).filter((exported) => Array.isArray(exported))) {
    kernels.push(...(list as Kernel[]).filter((item) => (item as Partial<Kernel> | null)?.kind === "kernel"));
  }
}

const shaderFiles = readdirSync(join(ROOT, "shaders")).filter((name) => name.endsWith(".wgsl"));

/** Sizes that a workgroup may have; a kernel that needs a particular one has no override for it. */
const WORKGROUP_SIZES = [16, 32, 64, 128, 256];

/** WGSL types of bindings in reflection's words. */
const RESOURCE = { "storage-read": "read", "storage-read-write": "read_write", uniform: "uniform" } as const;

describe("the set of kernels", () => {
  it("has one kernel for every file in shaders/, with the same name, and one entry point for each", () => {
    const labels = kernels.map((kernel) => kernel.label);
    expect([...new Set(labels)].sort()).toEqual(shaderFiles.map((name) => name.replace(".wgsl", "")).sort());
    for (const kernel of kernels) expect(kernel.entryPoint).toBe(kernel.label.replaceAll("-", "_"));
  });

  it("keeps entry points and bindings out of shaders/lib", () => {
    for (const name of readdirSync(join(ROOT, "shaders/lib"))) {
      const text = readFileSync(join(ROOT, "shaders/lib", name), "utf8");
      expect(text, name).not.toMatch(/@compute|@group/);
    }
  });
});

describe.each(kernels.map((kernel) => [kernel.label, kernel] as const))("%s", (_, kernel) => {
  // The reflector rejects a few plain identifiers that WGSL allows (block, workgroup, storage): rename those.
  const reflection = (): WgslReflect => new WgslReflect(kernel.source);

  it("binds what its WGSL binds", () => {
    const reflect = reflection();
    const bound = reflect.getBindGroups();
    expect(bound.length).toBe(1);
    const declared = Object.entries(kernel.bindings);
    expect(bound[0].map(({ name }) => name)).toEqual(declared.map(([name]) => name));
    for (const [i, [name, kind]] of declared.entries()) {
      const resource = bound[0][i];
      expect([name, resource.binding]).toEqual([name, i]);
      expect([name, kind === "uniform" ? "uniform" : resource.access]).toEqual([name, RESOURCE[kind]]);
    }
    expect(declared.filter(([, kind]) => kind === "uniform").length).toBeLessThanOrEqual(1);
  });

  it("has the params of its uniform struct, in order", () => {
    const reflect = reflection();
    const members = reflect.uniforms.flatMap(
      (uniform) => reflect.structs.find(({ name }) => name === uniform.type.name)?.members ?? [],
    );
    expect(members.map(({ name, type }) => [name, type.name])).toEqual(Object.entries(kernel.params));
    expect(members.map(({ offset }) => offset)).toEqual(members.map((_member, i) => 4 * i));
    expect(paramBytes(kernel.params)).toBeGreaterThanOrEqual(4 * members.length);
  });

  it("has the overrides of its WGSL with the same defaults", () => {
    const defaults = new Map(
      Array.from(kernel.source.matchAll(/override (\w+): \w+ = ([\d.]+)u?;/g), ([, name, value]) => [
        name,
        Number(value),
      ]),
    );
    const declared = reflection().overrides.map(({ name }) => [name, defaults.get(name)]);
    expect(Object.fromEntries(declared)).toEqual(kernel.overrides);
  });
});

describe("the structs that the host fills", () => {
  it.each([
    ["Problem", ProblemWord, PROBLEM_WORDS],
    ["SupportColumn", ColumnWord, COLUMN_WORDS],
    ["NeuronProbe", NeuronWord, NEURON_WORDS],
  ])("%s has its fields where its WGSL has them", (name, words, size) => {
    const kernel = kernels.find(({ label }) => label === "single-neuron-step")!;
    const struct = new WgslReflect(kernel.source).structs.find((item) => item.name === name)!;
    const offsets = struct.members.map((member) => [member.name, member.offset / 4]);
    expect(Object.fromEntries(offsets)).toEqual(words);
    expect(struct.size / 4).toBe(size);
  });
});

describe("compilation by Dawn with WebGPU's default limits", () => {
  let nullDevice: ComputeDevice;
  beforeAll(async () => {
    nullDevice = await openNullDevice();
  });

  const variants = kernels.flatMap((kernel) => {
    const types = "weight_type" in kernel.overrides ? Object.values(WEIGHT_CODE) : [undefined];
    const sizes = "workgroup_size" in kernel.overrides ? WORKGROUP_SIZES : [undefined];
    return types.flatMap((weight_type) =>
      sizes.map((workgroup_size) => {
        const overrides: Record<string, number> = {
          ...kernel.overrides,
          ...(weight_type !== undefined && { weight_type }),
          ...(workgroup_size !== undefined && { workgroup_size }),
        };
        return [kernel, overrides] as const;
      }),
    );
  });

  it.each(
    variants.map(
      ([kernel, overrides]) => [`${kernel.label} ${JSON.stringify(overrides)}`, kernel, overrides] as const,
    ),
  )("%s", async (_, kernel, overrides) => {
    // A wrapper of its own, so that one kernel's error does not stick to the next.
    const device = new ComputeDevice(nullDevice.gpu);
    device.compile(kernel, overrides);
    await device.settled();
  });
});
