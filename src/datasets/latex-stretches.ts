/** LaTeX spans cut into stretches of characters that all features say the same of. */
import { LATEX_FEATURES, type LatexFeature, type LatexSpan, type LatexSpanKind } from "./latex-scanner.ts";

/** Bits are those of {@link LATEX_FEATURES}, the first the lowest. */
export interface LatexStretch {
  /** UTF-16 index after the last character; the next stretch begins there. */
  readonly end: number;
  /** Features that hold. */
  readonly inside: number;
  /** Features of which it is left open whether they hold. */
  readonly open: number;
  /** Features that do not hold while the one that mirrors them does. */
  readonly mirrored: number;
  /** Whether this is not read as the document's text. */
  readonly skipped: boolean;
}

/** Features that are told from each other, besides from the rest of the text. */
const MIRRORS: readonly (readonly [LatexFeature, LatexFeature])[] = [
  ["numerator", "denominator"],
  ["subscript", "superscript"],
  ["inline_math", "display_math"],
  ["title", "author"],
];

/** The bit of a feature. */
export function latexBit(feature: LatexFeature): number {
  return 1 << LATEX_FEATURES.indexOf(feature);
}

const FORMULAS = latexBit("math") | latexBit("inline_math") | latexBit("display_math");

const MIRROR_OF = new Map(
  MIRRORS.flatMap(([a, b]) => [
    [a as LatexSpanKind, latexBit(b)],
    [b as LatexSpanKind, latexBit(a)],
  ]),
);

const OUTSIDE: LatexStretch = { end: 0, inside: 0, open: 0, mirrored: 0, skipped: false };

/** Cuts a text into stretches; the last one has no end. `spans` are nested or apart, by start, the outer ones first. */
export function latexStretches(spans: readonly LatexSpan[]): LatexStretch[] {
  const stretches: LatexStretch[] = [];
  const around: { readonly end: number; readonly outer: LatexStretch }[] = [];
  let state = OUTSIDE;
  let from = 0;
  const cut = (end: number): void => {
    if (end > from) stretches.push({ ...state, end });
    from = end;
  };
  const leave = (until: number): void => {
    for (let span = around.at(-1); span && span.end <= until; span = around.at(-1)) {
      cut(span.end);
      state = span.outer;
      around.pop();
    }
  };
  for (const { kind, start, end } of spans) {
    leave(start);
    cut(start);
    around.push({ end, outer: state });
    state = entered(state, kind);
  }
  leave(Infinity);
  stretches.push({ ...state, end: Infinity });
  return stretches;
}

/** What holds inside a span of a kind. */
function entered(state: LatexStretch, kind: LatexSpanKind): LatexStretch {
  const { inside, open, mirrored } = state;
  if (kind === "skipped") return { ...state, skipped: true };
  if (kind === "text") {
    return {
      ...state,
      inside: inside & ~FORMULAS,
      open: open | (inside & FORMULAS),
      mirrored: mirrored & ~FORMULAS,
    };
  }
  const bit = latexBit(kind);
  // The other one around it is neither here, or this is one of its negatives.
  const mirror = MIRROR_OF.get(kind) ?? 0;
  const around = (inside | open) & mirror;
  return {
    ...state,
    inside: (inside | bit) & ~mirror,
    open: (open | around) & ~bit,
    mirrored: (mirrored | (mirror & ~around)) & ~bit,
  };
}
