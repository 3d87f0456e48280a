// What a user's ES module does with the installed package.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { BackendUnavailableError, FormatError, ShapeError, SparseProbe } from "sparseprobe";
import { createGpuJsBackend } from "sparseprobe/gpujs";
import { createBackend, fileSource } from "sparseprobe/node";

const rows = [
  [0, 1],
  [1, 0],
  [0, 3],
  [1, 2],
  [0, 2],
  [1, 1],
];
const labels = [0, 1, 0, 1, 0, 1];
const backend = await createBackend("cpu", { threads: 2 });
assert.equal(backend.info.threads, 2);
const probe = await SparseProbe.fit(rows, labels, 1, { backend });
assert.deepEqual([...probe.support], [0]);
assert.deepEqual([...probe.predict(rows)], labels);
await assert.rejects(SparseProbe.fit([[1, 2], [3]], [0, 1], 1), ShapeError);
await assert.rejects(fileSource("missing.bin"), FormatError);
const shader = fileURLToPath(import.meta.resolve("sparseprobe/shaders/class-moments.wgsl"));
assert.match(await readFile(shader, "utf8"), /@compute/);
await assert.rejects(createGpuJsBackend(), (error) => {
  assert.ok(error instanceof BackendUnavailableError);
  assert.match(error.remedy, /npm install gpu\.js/);
  return true;
});
// Enough columns that other threads are woken; they must not keep the process alive.
const wide = await backend.allocate(60_000, 8);
wide.data.forEach((_, i, data) => (data[i] = i));
const gathered = await backend.gatherColumns(await backend.upload(wide), Uint32Array.of(7, 0));
assert.deepEqual([...gathered.data.slice(-2)], [479_999, 479_992]);
assert.equal(backend.info.threads, 2);
console.log("esm ok");
