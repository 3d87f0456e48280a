/** Help: what it says, that its examples run, and that it comes at once. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { CLI, ROOT, runCli } from "./run-cli.ts";

const COMMANDS = ["probe", "neuron", "ablate", "capture"];

const LIMIT_MILLISECONDS = 150;
/** Other work on the machine only adds to a time: the fastest of a few processes is the program's own. */
const PROCESSES = 20;

it.each([[], ...COMMANDS.map((name) => [name])])("help of sparseprobe %s", async (...command) => {
  const { code, stdout, stderr } = await runCli([...command, "--help"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatchSnapshot();
  // Fits a terminal of 80 columns.
  expect(stdout.split("\n").filter((line) => [...line].length > 80)).toEqual([]);
});

it("lists every command, and help COMMAND is COMMAND --help", async () => {
  const { stdout } = await runCli(["--help"]);
  for (const name of COMMANDS) {
    expect(stdout).toMatch(new RegExp(`^  ${name} `, "m"));
    expect((await runCli(["help", name])).stdout).toBe((await runCli([name, "--help"])).stdout);
  }
});

it("knows its version", async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  expect(await runCli(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

it(`shows help within ${LIMIT_MILLISECONDS} ms`, () => {
  let fastest = Infinity;
  for (let i = 0; i < PROCESSES && fastest >= LIMIT_MILLISECONDS; i++) {
    const start = performance.now();
    execFileSync(process.execPath, [CLI, "--help"]);
    fastest = Math.min(fastest, performance.now() - start);
  }
  expect(fastest).toBeLessThan(LIMIT_MILLISECONDS);
});
