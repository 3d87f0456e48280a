import { describe, expect, it, vi } from "vitest";
import { createBackend } from "../../src/backends/create-backend.ts";
import { Activations } from "../../src/data/activations.ts";
import { BackendUnavailableError } from "../../src/errors.ts";
import { createBackend as createNodeBackend } from "../../src/node/create-backend.ts";
import { requestNodeDevice } from "../../src/node/gpu.ts";

const unavailable = (): Promise<never> =>
  Promise.reject(new BackendUnavailableError("There is no GPU here.", "Use the CPU backend."));

describe("createBackend", () => {
  it("makes the CPU backend without looking for a GPU", async () => {
    const acquire = vi.fn(unavailable);
    const backend = await createBackend("cpu", { acquire });
    expect(backend.info.kind).toBe("cpu");
    expect(acquire).not.toHaveBeenCalled();
  });

  it("refuses a kind that is not known", async () => {
    await expect(createBackend("gpu" as "webgpu")).rejects.toMatchObject({ code: "option" });
  });

  it("falls back to a CPU backend that works, and says why", async () => {
    const backend = await createBackend("auto", { acquire: unavailable });
    expect(backend.info).toMatchObject({
      kind: "cpu",
      fallbackReason: expect.stringContaining("no GPU here") as string,
    });
    const x = await backend.upload(new Activations(Float32Array.of(1, 2), [2, 1]));
    expect([...(await backend.gatherColumns(x, Uint32Array.of(0))).data]).toEqual([1, 2]);
  });

  it("throws the reason when the GPU was asked for by name", async () => {
    await expect(createBackend("webgpu", { acquire: unavailable })).rejects.toThrow(
      /no GPU here.*Use the CPU/,
    );
  });

  it("says what to do where there is no navigator.gpu", async () => {
    await expect(createBackend("webgpu")).rejects.toMatchObject({
      code: "backend-unavailable",
      message: expect.stringContaining("/node") as string,
    });
  });

  it("takes navigator.gpu where there is one", async () => {
    const device = await requestNodeDevice();
    vi.stubGlobal("navigator", {
      gpu: {
        requestAdapter: () =>
          Promise.resolve({ limits: {}, features: new Set(), requestDevice: () => Promise.resolve(device) }),
      },
    });
    try {
      const backend = await createBackend("webgpu");
      expect(backend.info.kind).toBe("webgpu");
      backend.dispose();
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("does not swallow other errors", async () => {
    const acquire = () => Promise.reject(new Error("a defect"));
    await expect(createBackend("auto", { acquire })).rejects.toThrow("a defect");
  });

  it("uses a caller's device and leaves it alone", async () => {
    const device = await requestNodeDevice();
    for (const kind of ["auto", "webgpu"] as const) {
      const backend = await createBackend(kind, { device });
      expect(backend.info.kind).toBe("webgpu");
      backend.dispose();
    }
    device.pushErrorScope("validation");
    device.createBuffer({ size: 16, usage: 0x80 }).destroy();
    expect(await device.popErrorScope()).toBeNull();
    device.destroy();
  });
});

describe("createBackend of the Node entry", () => {
  it("acquires a GPU by name", async () => {
    const backend = await createNodeBackend("webgpu");
    expect(backend.info.kind).toBe("webgpu");
    expect(backend.info.device).not.toBe("");
    backend.dispose();
  });

  it("does not take a GPU that is emulated in software unless told to", async () => {
    const backend = await createNodeBackend("auto");
    if (backend.info.kind === "cpu") expect(backend.info.fallbackReason).toMatch(/emulated in software/);
    backend.dispose();
  });

  it("says so when Dawn finds no adapter", async () => {
    await expect(createNodeBackend("webgpu", { dawn: ["adapter=no such adapter"] })).rejects.toMatchObject({
      code: "backend-unavailable",
    });
  });
});
