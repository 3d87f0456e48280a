/** Models from a hub, through the disk's cache: the whole way, and everything that may go wrong on it. */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { FormatError, HubError, MissingTensorError, OutOfMemoryError } from "../../src/errors.ts";
import type { LoadFromHubOptions } from "../../src/hub/hub-options.ts";
import { logitEffects } from "../../src/evidence/evidence.ts";
import { bytesSource } from "../../src/io/byte-source.ts";
import type { RawTensor } from "../../src/io/raw-tensor.ts";
import { openSafetensors, writeSafetensors } from "../../src/io/safetensors.ts";
import { estimateModelMemory } from "../../src/model/estimate-model-memory.ts";
import type { LanguageModel } from "../../src/model/language-model.ts";
import { loadModelFromHub, openHubModel, type CacheFolderOptions } from "../../src/node/hub.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import {
  COMMIT,
  gitHash,
  HubServer,
  modelPath,
  NAME,
  sha256,
  type HubRequest,
  type Trouble,
} from "./hub-server.ts";

const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const TOKEN = "hf_0123456789secret";

let hub: HubServer;
let cacheFolder: string;
beforeEach(async () => {
  hub = await HubServer.start();
  cacheFolder = await mkdtemp(join(tmpdir(), "hub-"));
});
afterEach(async () => {
  await hub.stop();
  await rm(cacheFolder, { recursive: true });
});

type Options = LoadFromHubOptions & CacheFolderOptions;
const settings = (): Omit<Options, "onProgress"> => ({
  endpoint: hub.endpoint,
  cacheFolder,
  retries: 3,
  stallTimeout: 400,
});
const load = (options: Options = {}): Promise<LanguageModel> =>
  loadModelFromHub(NAME, createCpuBackend(), { ...settings(), ...options });

/** The error that loading ends with. */
async function failure(options: Options = {}, name = NAME): Promise<HubError> {
  const error: unknown = await loadModelFromHub(name, createCpuBackend(), { ...settings(), ...options }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(HubError);
  return error as HubError;
}

async function logits(model: LanguageModel): Promise<Float32Array> {
  const tokens = Uint32Array.of(5, 100, 42, 7);
  const result = await model.transformer.forward(
    { tokens, offsets: Uint32Array.of(0, tokens.length) },
    { hookPoints: [], logits: "all" },
  );
  model.dispose();
  return result.logits!;
}

/** All files can be had, and are the model's own. */
async function expectTheFiles(options: Omit<Options, "onProgress"> = {}): Promise<void> {
  const files = await openHubModel(NAME, { ...settings(), ...options });
  const { tensors } = await files.tensors();
  await files.close();
  expect(tensors.size).toBeGreaterThan(10);
  for (const path of await readdir(join(modelFolder(), "snapshots", COMMIT))) {
    expect((await readFile(snapshot(path))).equals(hub.files.get(path)!)).toBe(true);
  }
}

/** The model loads, and is the one in the folder. */
async function expectTheModel(options: Options = {}): Promise<void> {
  const local = await loadModelFolder(modelPath, createCpuBackend());
  expect(await logits(await load(options))).toEqual(await logits(local));
}

/** A request for the weights, rather than for their header. */
const isDownload = ({ host, method, range }: HubRequest): boolean =>
  host === "content" && method === "GET" && range?.endsWith("-131071") !== true;

/** Troubles of the requests for the weights' bytes, one after the other. */
function trouble(...troubles: (Trouble | undefined)[]): void {
  hub.trouble = (request) => (isDownload(request) ? troubles.shift() : undefined);
}

const modelFolder = (): string => join(cacheFolder, `models--${NAME.replace("/", "--")}`);
const snapshot = (path: string): string => join(modelFolder(), "snapshots", COMMIT, path);
const blobs = async (): Promise<string[]> => readdir(join(modelFolder(), "blobs"));
const weights = (): Buffer => hub.files.get(WEIGHTS)!;

describe("loadModelFromHub", () => {
  it("gives the model that the folder gives, bit for bit, and names its commit", async () => {
    const model = await load();
    expect(model.name).toBe(`${NAME}@${COMMIT}`);
    model.dispose();
    await expectTheModel();
    expect(hub.bodies(sha256(weights()))).toHaveLength(2);
  });

  it("reads the weights again for what needs them, of the same commit and from the cache", async () => {
    const model = await load();
    const local = await loadModelFolder(modelPath, createCpuBackend());
    const asked = hub.requests.length;
    const [got, want] = await Promise.all([
      logitEffects(model, [{ layer: 4, neuron: 765 }]),
      logitEffects(local, [{ layer: 4, neuron: 765 }]),
    ]);
    expect(got).toEqual(want);
    expect(hub.requests.length).toBe(asked);
    model.dispose();
    local.dispose();
  });

  it("keeps files as huggingface_hub does", async () => {
    (await load()).dispose();
    expect(await readFile(join(modelFolder(), "refs/main"), "utf8")).toBe(COMMIT);
    expect(await readlink(snapshot(WEIGHTS))).toBe(join("../../blobs", sha256(weights())));
    expect(await readlink(snapshot("config.json"))).toBe(
      join("../../blobs", gitHash(hub.files.get("config.json")!)),
    );
    const names = [...hub.files].map(([, bytes]) => (bytes.length < 1e6 ? gitHash(bytes) : sha256(bytes)));
    expect((await blobs()).sort()).toEqual(names.sort());
    expect((await readFile(snapshot(WEIGHTS))).equals(weights())).toBe(true);
  });

  it("asks again only where a branch leads, and nothing of a commit", async () => {
    (await load()).dispose();
    hub.requests.length = 0;
    (await load()).dispose();
    expect(hub.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `HEAD /${NAME}/resolve/main/config.json`,
    ]);
    hub.requests.length = 0;
    const model = await load({ revision: COMMIT });
    expect(model.name).toBe(`${NAME}@${COMMIT}`);
    (await load({ offline: true })).dispose();
    expect(hub.requests).toEqual([]);
  });

  it("loads what is cached when the hub is down, and says so when nothing is", async () => {
    (await load()).dispose();
    const { endpoint } = hub;
    hub.trouble = () => ({ kind: "status", status: 503 });
    await expectTheModel({ endpoint, retries: 0 });
    expect(await failure({ revision: "other", retries: 0 })).toMatchObject({ reason: "network" });
    expect((await failure({ revision: "other", offline: true })).message).toContain("not in the cache");
  });

  it("finds revisions with slashes", async () => {
    hub.revisions.set("refs/pr/7", COMMIT);
    await expectTheFiles({ revision: "refs/pr/7" });
    expect(hub.requests[0].path).toBe(`/${NAME}/resolve/refs/pr/7/config.json`);
    expect(await readFile(join(modelFolder(), "refs/refs/pr/7"), "utf8")).toBe(COMMIT);
  });

  it("reports bytes, then tensors", async () => {
    const steps: [string, number, number][] = [];
    (await load({ onProgress: (...step) => steps.push(step) })).dispose();
    const bytes = steps.filter(([stage]) => stage === "download");
    expect(bytes.at(-1)).toEqual(["download", weights().length, weights().length]);
    expect(steps.at(-1)![0]).toBe("load");
    expect(steps.findLastIndex(([stage]) => stage === "download")).toBe(bytes.length - 1);
  });
});

describe("a download that is interrupted", () => {
  it.each([
    ["a connection that breaks", { kind: "cut", after: 3_000_000 }],
    ["a body that ends early", { kind: "short", after: 3_000_000 }],
    ["a body that stalls", { kind: "stall", after: 3_000_000 }],
  ] satisfies [string, Trouble][])("goes on where it stopped after %s", async (_, first) => {
    trouble(first);
    await expectTheFiles();
    const [whole, rest, ...more] = hub.bodies(sha256(weights())).map(({ range }) => range);
    expect([whole, more]).toEqual([undefined, []]);
    // What a broken connection had under way may be lost.
    expect(Number(/^bytes=(\d+)-$/.exec(rest!)![1])).toBeGreaterThan(first.kind === "cut" ? 0 : 2_999_999);
  });

  it("starts again where the server ignores ranges", async () => {
    trouble({ kind: "cut", after: 3_000_000 }, { kind: "no-ranges" });
    await expectTheFiles();
  });

  it.each([500, 429])("is repeated after status %i", async (status) => {
    trouble({ kind: "status", status }, { kind: "status", status });
    await expectTheFiles();
  });

  it("is given up after several tries that bring nothing, and then goes on", async () => {
    const dead: Trouble = { kind: "cut", after: 0 };
    trouble({ kind: "cut", after: 2_000_000 }, dead, dead, dead, dead);
    const error = await failure();
    expect(error).toMatchObject({ reason: "network", code: "hub" });
    expect(error.message).toMatch(/model\.safetensors .* 4 tries in a row: the transfer broke off/);
    await expect(stat(snapshot(WEIGHTS))).rejects.toThrow("ENOENT");
    hub.requests.length = 0;
    await expectTheFiles();
    expect(hub.bodies(sha256(weights())).at(-1)!.range).toMatch(/^bytes=[1-9]\d*-$/);
  });

  it("never ends in a loop with a server that always stops at the same byte", async () => {
    const short: Trouble = { kind: "short", after: 1000 };
    hub.trouble = (request) => {
      if (!isDownload(request)) return undefined;
      return request.range === undefined ? short : { kind: "status", status: 416 };
    };
    expect(await failure()).toMatchObject({ reason: "network" });
  });

  it("goes on after an abort", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const aborted = load({
      signal: controller.signal,
      onProgress: (stage, done) => {
        if (stage === "download" && done > 2_000_000) controller.abort(reason);
      },
    });
    await expect(aborted).rejects.toBe(reason);
    await expect(stat(snapshot(WEIGHTS))).rejects.toThrow("ENOENT");
    hub.requests.length = 0;
    await expectTheFiles();
    const from = Number(/^bytes=(\d+)-$/.exec(hub.bodies(sha256(weights())).at(-1)!.range!)![1]);
    expect(from).toBeGreaterThan(2_000_000);
  });

  it("starts anew when what was left is damaged", async () => {
    trouble({ kind: "cut", after: 3_000_000 }, { kind: "cut", after: 0 }, { kind: "cut", after: 0 });
    await failure({ retries: 1 });
    const [part] = (await blobs()).filter((name) => name.endsWith(".part"));
    await writeFile(join(modelFolder(), "blobs", part), Buffer.alloc(3_000_000));
    await expectTheFiles();
    expect((await blobs()).filter((name) => name.endsWith(".part"))).toEqual([]);
  });
});

describe("files that are not what the hub says", () => {
  it.each([
    ["another checksum", "checksum", { kind: "changed" }],
    ["more bytes", "size", { kind: "long" }],
  ] satisfies [string, string, Trouble][])(
    "are refused with %s, and never load",
    async (_, reason, first) => {
      trouble(first);
      expect(await failure()).toMatchObject({ reason });
      expect((await blobs()).every((name) => !name.startsWith(sha256(weights())))).toBe(true);
      await expectTheFiles();
    },
  );

  it("are refused when a small file has another checksum", async () => {
    hub.trouble = ({ method, path }) =>
      method === "GET" && path.endsWith("tokenizer.json") ? { kind: "changed" } : undefined;
    expect(await failure()).toMatchObject({ reason: "checksum" });
    await expect(stat(snapshot("tokenizer.json"))).rejects.toThrow("ENOENT");
  });

  it("are refused when the hub gives a wrong size", async () => {
    hub.describe = (path, headers) => {
      if (path === WEIGHTS) headers["x-linked-size"] = String(weights().length - 1);
    };
    // The header's offsets do not fit that size, which shows before the weights are fetched.
    await expect(load()).rejects.toThrow(FormatError);
    const files = await openHubModel(NAME, settings());
    await expect(files.tensors()).rejects.toMatchObject({ reason: "size" });
    expect((await blobs()).every((name) => !name.startsWith(sha256(weights())))).toBe(true);
  });

  it("are fetched without a checksum where a mirror has none, and checked by size", async () => {
    hub.describe = (path, headers) => {
      if (path === WEIGHTS) delete headers["x-linked-etag"];
    };
    trouble({ kind: "cut", after: 3_000_000 });
    await expectTheFiles();
  });
});

describe("refusals", () => {
  const refuseAll = (status: number, code?: string): void => {
    hub.trouble = () => ({ kind: "status", status, ...(code !== undefined && { code }) });
  };

  it.each([401, 403])("name the remedy for a gated model (%i)", async (status) => {
    refuseAll(status, "GatedRepo");
    const error = await failure();
    expect(error.reason).toBe("access");
    expect(error.message).toMatch(/gated.*No access token was given/);
    expect(error.remedy).toContain(`${hub.endpoint}/${NAME}`);
  });

  it("say that a model does not exist or is private", async () => {
    const error = await failure({}, "nobody/nothing");
    expect(error.reason).toBe("access");
    expect(error.message).toMatch(/nobody\/nothing may not be read.*does not exist, or it is private/);
  });

  it("tell a missing model, revision and file apart", async () => {
    refuseAll(404, "RepoNotFound");
    expect((await failure()).message).toContain(`There is no model ${NAME}`);
    hub.trouble = () => undefined;
    expect((await failure({ revision: "nope" })).message).toContain("has no revision nope");
    hub.files.delete("tokenizer.json");
    expect((await failure()).message).toContain("has no tokenizer.json");
    hub.files.delete("config.json");
    const error = await failure();
    expect(error.message).toContain("has no config.json");
    expect(error.reason).toBe("not-found");
  });

  it("load a model that has no tokenizer_config.json, and remember that offline", async () => {
    hub.files.delete("tokenizer_config.json");
    await expectTheModel();
    await expectTheModel({ offline: true });
  });

  it.each(["pytorch_model.bin", "pytorch_model.bin.index.json"])("do not unpickle %s", async (name) => {
    hub.files.set(name, hub.files.get("config.json")!);
    hub.files.delete(WEIGHTS);
    const error = await failure();
    expect(error.reason).toBe("no-safetensors");
    expect(error.message).toContain(name);
  });

  it.each(["../x", "a/b/c", "/a", "a b/c", "", "a/..", ".hidden/x"])("refuse the name %j", async (name) => {
    await expect(openHubModel(name, settings())).rejects.toMatchObject({ code: "option" });
  });

  it.each(["../x", "a/../b", "/a", "a//b", "a/", "-\n"])("refuse the revision %j", async (revision) => {
    await expect(openHubModel(NAME, { ...settings(), revision })).rejects.toMatchObject({ code: "option" });
  });

  it("refuse a hub that does not say which commit it serves", async () => {
    await expect(openHubModel(NAME, { ...settings(), fetch: withoutCommit })).rejects.toThrow(/which commit/);
  });

  async function withoutCommit(url: string, init: RequestInit): Promise<Response> {
    const response = await fetch(url, init);
    const headers = new Headers(response.headers);
    headers.delete("x-repo-commit");
    return new Response(null, { status: response.status, headers });
  }

  it("stop at redirects that go round, and at other protocols", async () => {
    const to = (location: string) => () =>
      Promise.resolve(new Response(null, { status: 302, headers: { location } }));
    await expect(openHubModel(NAME, { ...settings(), fetch: to(`${hub.endpoint}/x`) })).rejects.toThrow(
      /redirects more than/,
    );
    await expect(openHubModel(NAME, { ...settings(), fetch: to("file:///etc/passwd") })).rejects.toThrow(
      /redirects to a file: address/,
    );
  });
});

describe("the access token", () => {
  it("goes to the hub alone, not to the host that files are redirected to", async () => {
    hub.secret = TOKEN;
    await expectTheModel({ token: ` ${TOKEN}\n` });
    const seen = (host: string): Set<string | undefined> =>
      new Set(hub.requests.filter((r) => r.host === host).map((r) => r.authorization));
    expect(seen("hub")).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(seen("content")).toEqual(new Set([undefined]));
  });

  it("comes from the environment, as the endpoint and the folder do", async () => {
    hub.secret = TOKEN;
    const before = { ...process.env };
    Object.assign(process.env, {
      HF_ENDPOINT: `${hub.endpoint}/`,
      HF_TOKEN: TOKEN,
      HF_HUB_CACHE: cacheFolder,
    });
    try {
      (await loadModelFromHub(NAME, createCpuBackend())).dispose();
      process.env["HF_TOKEN"] = "";
      process.env["HUGGING_FACE_HUB_TOKEN"] = TOKEN;
      await rm(modelFolder(), { recursive: true });
      (await loadModelFromHub(NAME, createCpuBackend())).dispose();
      hub.requests.length = 0;
      process.env["HF_HUB_OFFLINE"] = "1";
      (await loadModelFromHub(NAME, createCpuBackend())).dispose();
      expect(hub.requests).toEqual([]);
    } finally {
      for (const name of [
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
      ]) {
        if (before[name] === undefined) Reflect.deleteProperty(process.env, name);
        else process.env[name] = before[name];
      }
    }
  });

  it("is in no error, even where fetch repeats it", async () => {
    const show = (error: Error): string =>
      [error.message, error.stack, JSON.stringify(error), String(error.cause)].join("\n");
    const echo = (_: string, init: RequestInit): Promise<Response> =>
      Promise.reject(new TypeError(`bad headers: ${JSON.stringify(init.headers)}`));
    expect(show(await failure({ token: TOKEN, fetch: echo, retries: 0 }))).not.toContain(TOKEN);
    hub.secret = "another";
    const refused = await failure({ token: TOKEN });
    expect(show(refused)).not.toContain(TOKEN);
    expect(refused.message).toContain("The access token that was given does not help");
    const odd = openHubModel(NAME, { ...settings(), token: `${TOKEN}\nx` });
    await expect(odd).rejects.toMatchObject({ code: "option" });
    await odd.catch((error: unknown) => expect(show(error as Error)).not.toContain(TOKEN));
  });

  it("is not looked for in the endpoint's address", async () => {
    const error: unknown = await openHubModel(NAME, { endpoint: "https://me:pass@example.org" }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: "option" });
    expect(String(error)).not.toContain("pass@");
  });
});

describe("shards", () => {
  /** Splits the model's weights into two files with an index. */
  async function shard(): Promise<{ weight_map: Record<string, string> }> {
    const file = await openSafetensors(bytesSource(weights()));
    const parts: Record<string, RawTensor>[] = [{}, {}];
    const weight_map: Record<string, string> = {};
    let i = 0;
    for (const name of file.tensors.keys()) {
      const part = i++ % 2;
      parts[part][name] = await file.readRaw(name);
      weight_map[name] = `model-0000${part + 1}-of-00002.safetensors`;
    }
    hub.files.delete(WEIGHTS);
    parts.forEach((part, at) => {
      hub.files.set(`model-0000${at + 1}-of-00002.safetensors`, Buffer.from(writeSafetensors(part)));
    });
    return { weight_map };
  }
  const setIndex = (index: object): void => {
    hub.files.set(INDEX, Buffer.from(JSON.stringify(index)));
  };

  it("load as one file does, with bytes of all of them as progress", async () => {
    setIndex({ ...(await shard()), metadata: { total_size: 1 } });
    const totals = new Set<number>();
    await expectTheModel({
      onProgress: (stage, _, total) => {
        if (stage === "download") totals.add(total);
      },
    });
    const bytes = [1, 2].map((i) => hub.files.get(`model-0000${i}-of-00002.safetensors`)!.length);
    expect([...totals]).toEqual([bytes[0] + bytes[1]]);
    await expectTheModel({ offline: true });
  });

  it.each([
    "../../../../evil.safetensors",
    "/etc/evil.safetensors",
    "a/b.safetensors",
    "..\\evil.safetensors",
    "%2e%2e%2fevil.safetensors",
    "C:evil.safetensors",
    "evil.bin",
    ".safetensors",
  ])("are not looked for at %j", async (path) => {
    const { weight_map } = await shard();
    setIndex({ weight_map: { ...weight_map, "gpt_neox.embed_in.weight": path } });
    hub.requests.length = 0;
    await expect(load()).rejects.toThrow(FormatError);
    expect(hub.requests.some(({ path: asked }) => /evil|b\.safetensors|\/\.safetensors/.test(asked))).toBe(
      false,
    );
  });

  it("are missed by name", async () => {
    setIndex(await shard());
    hub.files.delete("model-00002-of-00002.safetensors");
    expect((await failure()).message).toContain(
      "has no model-00002-of-00002.safetensors, which its index names",
    );
  });

  it("must hold what the index says", async () => {
    const { weight_map } = await shard();
    const [name] = Object.keys(weight_map);
    setIndex({ weight_map: { ...weight_map, [name]: "model-00002-of-00002.safetensors" } });
    await expect(load()).rejects.toThrow(MissingTensorError);
  });
});

describe("memory", () => {
  it("is estimated from headers alone", async () => {
    const files = await openHubModel(NAME, settings());
    const memory = await estimateModelMemory(files, "cpu");
    await files.close();
    const bodies = hub.requests.filter(({ host, method }) => host === "content" && method === "GET");
    expect(bodies.map(({ range }) => range)).toEqual(["bytes=0-131071"]);
    const file = await openSafetensors(bytesSource(weights()));
    const counts = [...file.tensors.values()].map(({ shape }) => shape.reduce((a, b) => a * b, 1));
    const values = counts.reduce((a, b) => a + b, 0);
    expect(memory).toMatchObject({ parameters: values, gpu: 0, problem: null });
    expect(memory.largestTensor).toBe(4 * Math.max(...counts));
    expect(memory.host).toBeGreaterThanOrEqual(4 * values);
    expect(memory.hostPeak).toBe(memory.host + memory.largestTensor);
  });

  it("that is too little is noticed before the weights are fetched", async () => {
    await expect(load({ hostMemory: 1_000_000 })).rejects.toThrow(OutOfMemoryError);
    await expect(load({ hostMemory: 1_000_000 })).rejects.toThrow(/Loading it takes 0\.\d\d GB/);
    expect(hub.bodies(sha256(weights())).every(({ range }) => range === "bytes=0-131071")).toBe(true);
    expect((await blobs()).every((name) => !name.startsWith(sha256(weights())))).toBe(true);
  });
});

describe("the disk", () => {
  it("is asked for room before anything is fetched", async () => {
    const size = 2 ** 52;
    hub.describe = (path, headers) => {
      if (path === WEIGHTS) headers["x-linked-size"] = String(size);
    };
    const files = await openHubModel(NAME, settings());
    await expect(files.tensors()).rejects.toMatchObject({ reason: "storage" });
    await expect(files.tensors()).rejects.toThrow(/the disk of .* has room for/);
    expect(hub.bodies(sha256(weights()))).toEqual([]);
  });

  it("that cannot be written to is named", async () => {
    const file = join(cacheFolder, "file");
    await writeFile(file, "");
    const error = await failure({ cacheFolder: file });
    expect(error.reason).toBe("storage");
    expect(error.message).toContain(file);
  });

  it("takes over what a killed process had complete, without a request for it", async () => {
    const folder = join(modelFolder(), "blobs");
    await mkdir(folder, { recursive: true });
    const gone = await deadProcess();
    const host = hostname().replace(/[^\w-]/g, "-");
    await writeFile(join(folder, `${sha256(weights())}.${host}.${gone}.0.part`), weights());
    await expectTheFiles();
    expect(hub.bodies(sha256(weights()))).toEqual([]);
    expect((await blobs()).filter((name) => name.endsWith(".part"))).toEqual([]);
  });

  it("is written by one of two loads at once", async () => {
    const models = await Promise.all([load(), load()]);
    for (const model of models) model.dispose();
    expect(hub.bodies(sha256(weights())).filter(({ range }) => range === undefined)).toHaveLength(1);
    await expectTheFiles();
  });
});

describe("other processes", () => {
  const child = (): ReturnType<typeof spawn> =>
    spawn(
      process.execPath,
      [
        resolve("node_modules/tsx/dist/cli.mjs"),
        join(import.meta.dirname, "download-in-child.ts"),
        NAME,
        hub.endpoint,
        cacheFolder,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );

  it("that are killed leave a download that goes on, and nothing that loads", async () => {
    const reached = new Promise<void>((done) => {
      hub.trouble = (request) => {
        if (!isDownload(request)) return undefined;
        setTimeout(done, 300);
        return { kind: "stall", after: 3_000_000 };
      };
    });
    const process = child();
    const pid = new Promise<number>((done) => {
      process.stdout!.once("data", (text: Buffer) => done(Number(text.toString())));
    });
    const exited = new Promise((done) => process.once("exit", done));
    await reached;
    // The script's own process: tsx starts another one.
    globalThis.process.kill(await pid, "SIGKILL");
    await exited;
    await expect(stat(snapshot(WEIGHTS))).rejects.toThrow("ENOENT");
    hub.trouble = () => undefined;
    hub.requests.length = 0;
    await expectTheFiles();
    expect(hub.bodies(sha256(weights())).at(-1)!.range).toBe("bytes=3000000-");
  });

  it("that download the same file are waited for", async () => {
    let bodies = 0;
    let reached!: () => void;
    const first = new Promise<void>((done) => (reached = done));
    hub.trouble = (request) => {
      if (!isDownload(request)) return undefined;
      reached();
      // The child goes on by itself after its time-out.
      return bodies++ === 0 ? { kind: "stall", after: 3_000_000 } : undefined;
    };
    const process = child();
    const exited = new Promise<number | null>((done) => process.once("exit", done));
    await first;
    await expectTheFiles();
    expect(await exited).toBe(0);
    expect(bodies).toBe(2);
  });
});

/** The number of a process that has ended. */
async function deadProcess(): Promise<number> {
  const process = spawn(globalThis.process.execPath, ["-e", ""]);
  await new Promise((done) => process.once("exit", done));
  return process.pid!;
}
