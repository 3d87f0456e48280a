/** Every text category through the bundled model: texts to dataset to activations to a probe on held-out documents. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/reference/cpu-backend.ts";
