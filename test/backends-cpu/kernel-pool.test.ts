/** Jobs on one thread and on several: the same results, orderly ends. `gatherRows` stands for all jobs. */
import { afterEach, describe, expect, it } from "vitest";
import { gatherColumns } from "../../src/backends/cpu/simd/gather-columns.ts";
import { KernelPool } from "../../src/backends/cpu/wasm/kernel-pool.ts";
import type { SpawnWorker } from "../../src/backends/cpu/wasm/worker-thread.ts";
import { Activations } from "../../src/data/activations.ts";
import { DeviceError, DisposedError } from "../../src/errors.ts";
import { spawnWorker } from "../../src/node/spawn-worker.ts";
import { randomActivations } from "../support/random-data.ts";

/** Whether data are the columns of x, without printing them when they are not. */
const sameBytes =
  (x: Activations, columns: number[]) =>
  (data: Activations["data"]): boolean =>
    Buffer.compare(Buffer.from(data.buffer), Buffer.from(x.gatherColumns(columns).data.buffer)) === 0;

const pools: KernelPool[] = [];
const open = async (threads: number, spawn: SpawnWorker | undefined = spawnWorker): Promise<KernelPool> => {
  const pool = await KernelPool.open("simd", threads, spawn);
  pools.push(pool);
  return pool;
};
afterEach(() => {
  for (const pool of pools.splice(0)) pool.close();
});

describe.each([1, 2, 3])("a pool of %i threads", (threads) => {
  it("does every item once", async () => {
    const pool = await open(threads);
    const x = randomActivations(1, 70_000, 9);
    const got = await gatherColumns(pool, x, Uint32Array.of(8, 0, 3));
    expect(got.data).toSatisfy(sameBytes(x, [8, 0, 3]));
    expect(pool.threads).toBe(threads);
    expect(pool.memory.used).toBe(256);
  });

  it("runs jobs that are asked for at once one after the other", async () => {
    const pool = await open(threads);
    const x = randomActivations(2, 30_000, 5);
    const all = await Promise.all([0, 1, 2, 3].map((j) => gatherColumns(pool, x, Uint32Array.of(j))));
    for (const [j, got] of all.entries()) expect(got.data).toSatisfy(sameBytes(x, [j]));
  });

  it("stops on abort and works on", async () => {
    const pool = await open(threads);
    const x = randomActivations(3, 50_000, 4);
    const columns = new Uint32Array(300).fill(2);
    const controller = new AbortController();
    setTimeout(() => {
      controller.abort(new Error("enough"));
    }, 1);
    await expect(gatherColumns(pool, x, columns, controller.signal)).rejects.toThrow("enough");
    expect((await gatherColumns(pool, x, Uint32Array.of(1))).data).toSatisfy(sameBytes(x, [1]));
    expect(pool.memory.used).toBe(256);
  });

  it("reads what lies in its own memory in place", async () => {
    const pool = await open(threads);
    const x = randomActivations(4, 1000, 6);
    const own = pool.memory.zeros(6000, "f32");
    own.set(x.data);
    const inPlace = new Activations(own, [1000, 6]);
    const got = await gatherColumns(pool, inPlace, Uint32Array.of(5, 1));
    expect(got.data).toSatisfy(sameBytes(x, [5, 1]));
  });
});

describe.each([1, 2, 3])("programs on %i threads", (threads) => {
  it("do a step when what it reads is there", async () => {
    const pool = await open(threads);
    const { memory } = pool;
    const [rows, d, steps] = [64, 500, 40];
    // Each step moves every row one place up, from one buffer to the other.
    const buffers = [memory.allocate(4 * rows * d), memory.allocate(4 * rows * d)];
    const x = randomActivations(7, rows, d).data as Float32Array;
    memory.f32(buffers[0], x.length).set(x);
    const list = memory.allocate(4 * rows);
    memory.u32(list, rows).set(Uint32Array.from({ length: rows }, (_, r) => (r + 1) % rows));
    const offsets = memory.allocate(4 * (rows + 1));
    memory.u32(offsets, rows + 1).set(Uint32Array.from({ length: rows + 1 }, (_, r) => r));
    const program = Array.from({ length: steps }, (_, s) => ({
      job: "aggregateRows",
      items: rows,
      args: [buffers[s % 2], d, list, offsets, buffers[(s + 1) % 2], 2],
    }));
    for (let round = 1; round <= 5; round++) {
      await pool.runProgram(program);
      const got = memory.f32(buffers[0], x.length);
      const shift = (round * steps) % rows;
      const want = Float32Array.of(...x.subarray(shift * d), ...x.subarray(0, shift * d));
      expect(got.every((value, i) => value === want[i])).toBe(true);
    }
  });

  it("of pools that share threads do not meet", async () => {
    const pool = await open(threads);
    const others = await Promise.all([pool.sibling(), pool.sibling()]);
    const all = [pool, ...others];
    expect(new Set(all.map(({ memory }) => memory.memory)).size).toBe(3);
    const x = randomActivations(6, 100_000, 7);
    const gather = () => Promise.all(all.map((each, j) => gatherColumns(each, x, Uint32Array.of(j, 6))));
    for (const [j, got] of (await gather()).entries()) expect(got.data).toSatisfy(sameBytes(x, [j, 6]));
    others[1].release();
    for (const [j, got] of (await gather()).entries()) expect(got.data).toSatisfy(sameBytes(x, [j, 6]));
  });
});

describe("when threads fail", () => {
  // Enough work to be worth other threads.
  const x = randomActivations(5, 120_000, 3);

  it("a worker that does not start leaves the work to this thread", async () => {
    const pool = await open(2, () => {
      throw new Error("forbidden");
    });
    expect((await gatherColumns(pool, x, Uint32Array.of(2))).data).toSatisfy(sameBytes(x, [2]));
    expect(pool.threads).toBe(1);
  });

  it("a kernel that traps is an error, and the next job runs without workers", async () => {
    const pool = await open(2);
    await expect(pool.run("gatherRows", 1000, [0, 0, 1, 2 ** 30, 0, 2 ** 20, 0, 0, 2 ** 31])).rejects.toThrow(
      DeviceError,
    );
    expect(pool.threads).toBe(1);
    expect((await gatherColumns(pool, x, Uint32Array.of(2))).data).toSatisfy(sameBytes(x, [2]));
  });
});

describe("a pool that is closed", () => {
  const x = randomActivations(6, 120_000, 3);

  it("ends the job under way, and refuses the next, with a typed error", async () => {
    const pool = await open(2);
    await gatherColumns(pool, x, Uint32Array.of(2));
    const running = expect(gatherColumns(pool, x, new Uint32Array(300))).rejects.toThrow(DisposedError);
    setTimeout(() => {
      pool.close();
    }, 1);
    await running;
    await expect(gatherColumns(pool, x, Uint32Array.of(2))).rejects.toThrow(DisposedError);
  });

  it("while its threads start ends the job as well", async () => {
    const pool = await open(2);
    const running = expect(gatherColumns(pool, x, Uint32Array.of(2))).rejects.toThrow(DisposedError);
    pool.close();
    await running;
  });
});
