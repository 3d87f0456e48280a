/** Help: what it says, that its examples run, and that it comes at once. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { widthOf } from "../../src/cli/table.ts";
import { CLI, ROOT, runCli } from "./run-cli.ts";

const COMMANDS = ["probe", "neuron", "ablate", "capture", "sweep", "report"];

const LIMIT_MILLISECONDS = 150;
/** The fastest of a few processes is the program's own. */
const PROCESSES = 20;

it.each([[], ...COMMANDS.map((name) => [name])])("help of sparseprobe %s", async (...command) => {
  const { code, stdout, stderr } = await runCli([...command, "--help"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatchSnapshot();
  // Fits a terminal of 80 columns.
  expect(stdout.split("\n").filter((line) => widthOf(line) > 80)).toEqual([]);
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
  // Time of the processor, in which other work on the machine has no part.
  const script = `
    process.on("exit", () => {
      const { user, system } = process.cpuUsage();
      console.error((user + system) / 1000);
    });
    process.argv = [process.argv[0], ${JSON.stringify(CLI)}, "--help"];
    await import(${JSON.stringify(pathToFileURL(CLI).href)});`;
  let fastest = Infinity;
  for (let i = 0; i < PROCESSES && fastest >= LIMIT_MILLISECONDS; i++) {
    const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    fastest = Math.min(fastest, Number(stderr));
  }
  expect(fastest).toBeLessThan(LIMIT_MILLISECONDS);
});
