// What a user's CommonJS module does with the installed package.
const assert = require("node:assert/strict");
const { SparseProbe } = require("sparseprobe");
const { createBackend } = require("sparseprobe/node");

async function main() {
  const rows = [
    [0, 1],
    [1, 0],
    [0, 3],
    [1, 2],
    [0, 2],
    [1, 1],
  ];
  const backend = await createBackend("auto");
  assert.equal(backend.info.kind, "cpu");
  assert.match(backend.info.fallbackReason, /webgpu/);
  const probe = await SparseProbe.fit(rows, [false, true, false, true, false, true], 2, { backend });
  assert.equal(probe.support[0], 0);
  console.log("cjs ok");
}
main();
