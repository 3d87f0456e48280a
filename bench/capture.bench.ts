/** J7: texts through a model, MLP activations of every layer kept. */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  blobSource,
  captureActivations,
  openSafetensors,
  readLabelledTexts,
  TokenRows,
  writeSafetensors,
  type Activations,
  type Backend,
  type LanguageModel,
  type RawTensor,
  type TransformerSpec,
} from "sparseprobe";
import { loadModelFolder } from "sparseprobe/node";
import { compare, WrongAnswerError } from "./compare.ts";
import { generator, normalFrom } from "./data.ts";
import { ourContenders, torchContenders, type JobContext } from "./job.ts";
import { forwardLoop } from "./reference-forward.ts";
import { rivalArray } from "./rival-result.ts";
import type { TaskResult } from "./results.ts";
import type { Rival } from "./rival.ts";

const EXAMPLES = new URL("../examples/", import.meta.url).pathname;
const BUNDLED = join(EXAMPLES, "model/haystack-4m");
/** Tokens of the loops' text: they take about a second. */
const LOOP_TOKENS = 24;
/** Of the rows, every so many-th is compared between contenders. */
const EVERY = 16;
/** Largest difference that is allowed, relative to the largest activation of the layer. */
const TOLERANCE = { cpu: 1e-4, webgpu: 2e-3 } as const;

export async function captureSpeed(context: JobContext): Promise<TaskResult[]> {
  const texts = await bundledTexts(6);
  const { folder } = context.files;
  const larger = join(folder, "pythia-70m-shape");
  await writePythiaShape(larger);
  return [
    await captureTask(context, "capture, bundled model", BUNDLED, texts),
    await captureTask(context, "capture, Pythia-70M's layers", larger, joined(await bundledTexts(18))),
  ];
}

async function captureTask(
  context: JobContext,
  task: string,
  folder: string,
  texts: readonly string[],
): Promise<TaskResult> {
  const models = new Map<Backend, LanguageModel>();
  for (const { backend, unavailable } of context.ours) {
    if (!unavailable) models.set(backend, await loadModelFolder(folder, backend));
  }
  const [model] = models.values();
  const { spec } = model;
  const rows = await TokenRows.tokenise(model, texts);
  const ids = texts.map((text) => model.tokenizer.encode(text));
  const hookPoints = Array.from({ length: spec.layers }, (_, i) => `blocks.${i}.mlp.hook_post` as const);
  const run = async (backend: Backend): Promise<Activations[]> => [
    ...(await captureActivations(models.get(backend)!, rows, { hookPoints })).values(),
  ];
  const file = await readFile(join(folder, "model.safetensors"));
  const weights = await openSafetensors(blobSource(new Blob([file])));
  const loops = await forwardLoop(spec, weights, ids[0].subarray(0, LOOP_TOKENS));
  const checked = Uint32Array.from({ length: Math.ceil(rows.tokens / EVERY) }, (_, i) => i * EVERY);
  const truth = rowsOf(await run([...models.keys()][0]), checked);

  const path = join(context.files.folder, "capture.json");
  await writeFile(path, JSON.stringify(ids.map((tokens) => [...tokens])));
  const packages = ["torch", "transformers", "numpy"];
  const products = new Map<Rival, number>();
  for (const process of context.rivals) {
    if (process.unavailable(...packages)) continue;
    await process.load("capture", { model: folder, texts: path, threads: process.threads });
    products.set(process, await process.answer<number>("limit", {}));
  }
  const allowed = TOLERANCE[context.kind];
  const result = await compare(
    {
      job: "J7",
      task,
      size: {
        texts: texts.length,
        tokens: rows.tokens,
        layers: spec.layers,
        width: spec.dModel,
        neurons: spec.dMlp,
      },
      items: rows.tokens,
      itemName: "tokens",
      flops: forwardOperations(spec, ids),
      boundBy: "multiplying",
      contenders: [
        ...ourContenders(context, {
          whole: true,
          verify: async (backend) => {
            const captured = await run(backend);
            const first = captured.map((x) => x.toFloat32().subarray(0, LOOP_TOKENS * spec.dMlp));
            return (
              `${difference(first, loops, allowed)} of the float64 loops over ${LOOP_TOKENS} tokens; ` +
              `${difference(rowsOf(captured, checked), truth, allowed)} of the first run of ours`
            );
          },
          run,
        }),
        ...torchContenders(context, {
          name: "transformers, forward hooks",
          packages,
          whole: true,
          note:
            "no logits, nothing behind the last hook, no mask: texts sorted by length and padded behind, in the fastest of four sizes " +
            "of batch, found before the timed runs; its activations end in the order of the texts, without padding, as ours do",
          gigaflopsPerSecond: (process) => products.get(process),
          verify: async (process, device) => {
            const tokens = await process.answer<number>("fastest", { device });
            const flat = await rivalArray(process, context.files.folder, "some_rows", {
              device,
              rows: [...checked],
            });
            const each = flat.length / spec.layers;
            const theirs = truth.map((_, layer) => flat.subarray(layer * each, (layer + 1) * each));
            return (
              `batches of ${tokens} tokens; ` +
              `${difference(theirs, truth, allowed)} of ours over ${checked.length} tokens`
            );
          },
          run: (process, _, device) => process.run("capture", { device }),
        }),
      ],
      ...(context.kind === "cpu" && {
        limitGoal: { share: 0.75, text: "the multiply-add rate of 128-bit SIMD" },
      }),
    },
    { ...context, rounds: Math.min(context.rounds, 5) },
  );
  for (const held of models.values()) held.dispose();
  return {
    ...result,
    note:
      "The MLP activations of every layer and token, as float32 in host memory, from token ids; loading is not timed. The rate counts what " +
      "has to be computed: products, and attention over the tokens before, up to the last layer's neurons; nothing of padding." +
      [...products]
        .map(
          ([{ threads }, rate]) =>
            ` PyTorch's share of the limit is of what its own product of 2,048² matrices reaches with the processor's widest vectors, ` +
            `${rate.toFixed(0)} GFLOP/s at ${threads} ${threads === 1 ? "thread" : "threads"}.`,
        )
        .join(""),
  };
}

/** Every so many-th of the bundled texts: some of each class. */
async function bundledTexts(every: number): Promise<string[]> {
  const texts: string[] = [];
  for (const name of ["natural-language", "code-language"]) {
    texts.push(...readLabelledTexts(await readFile(join(EXAMPLES, `data/${name}.jsonl`), "utf8")).texts);
  }
  return texts.filter((_, t) => t % every === 0);
}

/** One to eight texts in a row as one: lengths of a real corpus, up to several hundred tokens. */
function joined(texts: readonly string[]): string[] {
  const out: string[] = [];
  for (let at = 0, count = 1; at < texts.length; at += count, count = (count % 8) + 1) {
    out.push(texts.slice(at, at + count).join("\n"));
  }
  return out;
}

/** A GPT-NeoX checkpoint with the layers of Pythia 70M, the bundled tokenizer, and weights drawn as theirs were. */
async function writePythiaShape(folder: string): Promise<void> {
  const [layers, width, neurons, vocabulary] = [6, 512, 2048, 4096];
  await mkdir(folder, { recursive: true });
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await copyFile(join(BUNDLED, name), join(folder, name));
  }
  const config = JSON.parse(await readFile(join(BUNDLED, "config.json"), "utf8")) as object;
  const shape = {
    hidden_size: width,
    intermediate_size: neurons,
    num_attention_heads: 8,
    num_hidden_layers: layers,
    max_position_embeddings: 2048,
    torch_dtype: "float32",
  };
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, ...shape }));
  const normal = normalFrom(generator(70));
  const tensors: Record<string, RawTensor> = {};
  const add = (name: string, of: readonly number[], value: () => number): void => {
    const data = Float32Array.from({ length: of.reduce((product, size) => product * size, 1) }, value);
    tensors[`gpt_neox.${name}`] = { dtype: "F32", shape: of, data };
  };
  const drawn = (): number => 0.02 * normal();
  const norm = (name: string): void => {
    add(`${name}.weight`, [width], () => 1 + drawn());
    add(`${name}.bias`, [width], drawn);
  };
  const linear = (name: string, outputs: number, inputs: number): void => {
    add(`${name}.weight`, [outputs, inputs], drawn);
    add(`${name}.bias`, [outputs], drawn);
  };
  add("embed_in.weight", [vocabulary, width], drawn);
  for (let layer = 0; layer < layers; layer++) {
    norm(`layers.${layer}.input_layernorm`);
    norm(`layers.${layer}.post_attention_layernorm`);
    linear(`layers.${layer}.attention.query_key_value`, 3 * width, width);
    linear(`layers.${layer}.attention.dense`, width, width);
    linear(`layers.${layer}.mlp.dense_h_to_4h`, neurons, width);
    linear(`layers.${layer}.mlp.dense_4h_to_h`, width, neurons);
  }
  norm("final_layer_norm");
  const { [`gpt_neox.embed_in.weight`]: embedding } = tensors;
  await writeFile(
    join(folder, "model.safetensors"),
    writeSafetensors({ ...tensors, "embed_out.weight": embedding }),
  );
}

/** Operations up to the last layer's neurons: two per weight and token, and attention's two products with the tokens before. */
function forwardOperations(
  { layers, dModel, dMlp, heads, dHead }: TransformerSpec,
  ids: readonly Uint32Array[],
): number {
  let [tokens, pairs] = [0, 0];
  for (const { length } of ids) {
    tokens += length;
    pairs += (length * (length + 1)) / 2;
  }
  const attention = tokens * 2 * 4 * dModel * heads * dHead + pairs * 2 * 2 * heads * dHead;
  return (layers - 1) * (attention + tokens * 2 * 2 * dModel * dMlp) + tokens * 2 * dModel * dMlp;
}

function rowsOf(captured: readonly Activations[], rows: Uint32Array): Float32Array[] {
  return captured.map((x) => {
    const values = x.toFloat32();
    const out = new Float32Array(rows.length * x.neurons);
    for (const [i, row] of rows.entries()) {
      out.set(values.subarray(row * x.neurons, (row + 1) * x.neurons), i * x.neurons);
    }
    return out;
  });
}

type Values = Float32Array | Float64Array;

/**
 * The largest difference over all layers, relative to the largest value of the layer.
 * @throws WrongAnswerError when it is more than allowed
 */
function difference(got: readonly Values[], truth: readonly Values[], allowed: number): string {
  let worst = 0;
  for (const [layer, wanted] of truth.entries()) {
    let [largest, off] = [0, got[layer].length === wanted.length ? 0 : Infinity];
    for (let i = 0; i < wanted.length; i++) {
      largest = Math.max(largest, Math.abs(wanted[i]));
      // Not a number must not pass.
      const one = Math.abs(got[layer][i] - wanted[i]);
      off = one <= off ? off : one;
    }
    worst = off / largest <= worst ? worst : off / largest;
  }
  const said = `within ${worst.toExponential(1)}`;
  if (!(worst <= allowed)) throw new WrongAnswerError(`${said} (allowed ${allowed})`);
  return said;
}
