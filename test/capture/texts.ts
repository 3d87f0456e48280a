import { LabelMatrix } from "../../src/data/labels.ts";

/** Texts of two kinds that the fixtures' tokenizer spells in 4 to 40 tokens. */
export const TEXTS: readonly string[] = [
  "The quick brown fox jumps.",
  "Быстрая лиса",
  "return counts",
  "Un éléphant, où est-il ?",
  "the dog sleeps; the fox runs",
  "собаку на",
  "for line in open(path):",
  "русском языке",
  "Numbers 0 1 2 3 10",
];

/** 1 for the texts in Cyrillic; and a second feature that leaves some texts unlabelled. */
export const LABELS: LabelMatrix = new LabelMatrix(
  ["cyrillic", "code"],
  TEXTS.length,
  Uint8Array.of(0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 255, 1, 0, 0, 255, 1, 0, 0),
);
