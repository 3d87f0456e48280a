// What a user's page does with the installed package: the same probe on both backends.
import { createBackend, SparseProbe } from "sparseprobe";

const rows = 96;
const neurons = 8;
const data = new Float32Array(rows * neurons);
const labels = Array.from({ length: rows }, (_, i) => i % 2);
for (let i = 0; i < rows; i++) {
  for (let j = 0; j < neurons; j++)
    data[i * neurons + j] = Math.sin(1 + i * (j + 3) * 1.7) + (j < 2 ? (labels[i]! * (2 - j)) / 2 : 0);
}

const results = [];
for (const kind of ["cpu", "webgpu"] as const) {
  const backend = await createBackend(kind);
  const probe = await SparseProbe.fit({ data, shape: [rows, neurons] }, labels, 3, { backend });
  results.push({
    kind: backend.info.kind,
    support: [...probe.support],
    coefficients: [...probe.coefficients],
    intercept: probe.intercept,
    accuracy: probe.evaluate({ data, shape: [rows, neurons] }, labels).accuracy,
  });
  backend.dispose();
}
document.querySelector("#result")!.textContent = JSON.stringify(results);
