import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  LatexScanner,
  scanLatex,
  type LatexSpan,
  type LatexSpanKind,
} from "../../src/datasets/latex-scanner.ts";

const TAGS: Readonly<Record<string, readonly LatexSpanKind[]>> = {
  f: ["frac"],
  n: ["numerator"],
  d: ["denominator"],
  t: ["title"],
  a: ["author"],
  A: ["abstract"],
  s: ["subscript"],
  S: ["superscript"],
  r: ["reference"],
  i: ["math", "inline_math"],
  D: ["math", "display_math"],
  w: ["text"],
  x: ["skipped"],
};

/** A source with its key: ⟨tag … tag⟩ marks what a reader would call a span. */
function marked(text: string): { source: string; key: LatexSpan[] } {
  let source = "";
  const key: LatexSpan[] = [];
  const open: { tag: string; start: number }[] = [];
  for (const part of text.split(/(⟨[A-Za-z]|[A-Za-z]⟩)/)) {
    if (part.startsWith("⟨")) open.push({ tag: part[1], start: source.length });
    else if (part.endsWith("⟩")) {
      const { tag, start } = open.pop()!;
      expect(part).toBe(`${tag}⟩`);
      for (const kind of TAGS[tag]) key.push({ kind, start, end: source.length });
    } else source += part;
  }
  return { source, key };
}

const sorted = (spans: readonly LatexSpan[]): LatexSpan[] =>
  [...spans].sort((a, b) => a.start - b.start || b.end - a.end || a.kind.localeCompare(b.kind));

const KEYS: readonly (readonly [about: string, marked: string])[] = [
  ["inline formulas", String.raw`if $⟨ix > 0i⟩$ and \(⟨iy < \deltai⟩\), then \begin{math}⟨izi⟩\end{math}`],
  ["displayed formulas", String.raw`so $$⟨Da = bD⟩$$ and \[⟨D c = d D⟩\] hold`],
  ["two formulas side by side", String.raw`$⟨iai⟩$$⟨ibi⟩$`],
  [
    "environments, starred or not",
    String.raw`\begin{equation}⟨D a D⟩\end{equation}\begin{align*}⟨D a &= b \\ &= c D⟩\end{align*}\begin{alignat}{2}⟨D a D⟩\end{alignat}`,
  ],
  ["environments inside formulas", String.raw`\[⟨D \begin{aligned} a &= b \end{aligned} D⟩\]`],
  [
    "fractions",
    String.raw`$⟨i⟨f\frac{⟨nan⟩}{⟨db + cd⟩}f⟩ ⟨f\dfrac ⟨n1n⟩⟨d2d⟩f⟩ ⟨f\tfrac{⟨nxn⟩} ⟨d\betad⟩f⟩i⟩$`,
  ],
  ["bare fractions", String.raw`$⟨i⟨f\frac⟨n1n⟩⟨d2d⟩f⟩3 + ⟨f\frac⟨n\alphan⟩{⟨d2d⟩}f⟩i⟩$`],
  ["fractions in fractions", String.raw`$⟨i⟨f\frac{⟨n⟨f\frac{⟨nan⟩}{⟨dbd⟩}f⟩n⟩}{⟨dcd⟩}f⟩i⟩$`],
  [
    "subscripts and superscripts",
    String.raw`$⟨ix_⟨sis⟩^⟨S2S⟩ + y_{⟨si+1s⟩} - z^{⟨S{-t}S⟩} e^⟨S\alphaS⟩ A^⟨S\mathrm{T}S⟩ u_⟨s\hat{v}s⟩i⟩$`,
  ],
  ["scripts in scripts", String.raw`$⟨ix_{⟨si^⟨S2S⟩s⟩} + 2^⟨S⟨f\frac⟨n1n⟩⟨d2d⟩f⟩S⟩i⟩$`],
  ["underscores in words and names", String.raw`a\_b snake_case \label{eq:a_b} $⟨ix\label{a_b}i⟩$`],
  [
    "words in formulas",
    String.raw`$⟨ix \text{⟨w if $⟨iyi⟩$ holdsw⟩} \mbox{⟨w elsew⟩}i⟩$ and \textbf{bold} words`,
  ],
  [
    "front matter",
    "\\title[short]{⟨tOn the \\emph{flow} of $⟨ixi⟩$t⟩}\n\\author{⟨aA. Uthor \\and B. Uthora⟩}\n" +
      "\\begin{abstract}⟨A We show it. A⟩\\end{abstract}",
  ],
  [
    "references",
    String.raw`see \cite[p.~3]{⟨rkey_1,key2r⟩}, \citep[see][]{⟨rkeyr⟩}, \ref{⟨rsec:ar⟩}, \eqref{⟨req:b_cr⟩} and \citation`,
  ],
  ["comments", "a ⟨x% $b$ \\frac{c}{d}x⟩\n$⟨ix⟨x% y}x⟩\n zi⟩$ 5\\% of $⟨iai⟩$"],
  ["escaped characters", String.raw`\$5 and \{ $⟨ix \{ y \$ zi⟩$ \\$⟨iai⟩$`],
  [
    "verbatim text",
    String.raw`⟨x\verb|$a$|x⟩ ⟨x\verb*+\frac+x⟩ ⟨x\begin{verbatim} $x$ } \end{verbatim}x⟩ ⟨x\begin{lstlisting}[a] $ \end{lstlisting}x⟩ $⟨iyi⟩$`,
  ],
  [
    "definitions",
    String.raw`⟨x\newcommand{\be}[1][x]{\begin{equation} $ #1}x⟩ ⟨x\def\ee#1{\end{equation}^2}x⟩ ⟨x\let\f=\fracx⟩ ⟨x\newenvironment{e}{$}{$}x⟩ ⟨x\DeclareMathOperator*{\argmin}{arg\,min}x⟩ $⟨iyi⟩$`,
  ],
  ["brackets are not always options", String.raw`\[⟨D [0,1] \\[2pt] \sqrt[3]{x} D⟩\]`],
  ["a lone dollar ends with its paragraph", "costs $5 and a_b\n \nthen $⟨ixi⟩$"],
  ["a brace that nothing opened", String.raw`a } b $⟨ixi⟩$ }`],
  ["a brace that nothing closes", String.raw`{\em a $⟨ixi⟩$`],
  ["an unfinished fraction", String.raw`$⟨i\frac{⟨nan⟩}i⟩$ b`],
  ["a script without an argument", String.raw`$⟨ia^i⟩$ and $⟨i{b_}i⟩$`],
  ["an \\end that closes what it did not open", String.raw`\begin{equation}⟨D a D⟩\end{equation*} $⟨ibi⟩$`],
  ["an \\end without a \\begin", String.raw`\end{align} $⟨ibi⟩$ \end{theorem}`],
  [
    "an environment left open inside another",
    "\\begin{theorem}\\begin{itemize} $⟨ixi⟩$ \\end{theorem} $⟨iyi⟩$",
  ],
  ["a formula cut off by its surroundings", "\\begin{theorem} $x_1 \\end{theorem} $⟨iyi⟩$"],
  ["what stands outside the document", "\\newcommand{\\x}{$\\begin{document}$⟨iai⟩$\\end{document}⟨x $b$x⟩"],
  ["characters beyond the basic plane", "$⟨i𝔸_⟨s𝑥s⟩i⟩$"],
];

describe("scanLatex", () => {
  it.each(KEYS)("%s", (_, text) => {
    const { source, key } = marked(text);
    const found = scanLatex(source);
    expect(sorted(found).map(({ kind, start, end }) => [kind, start, source.slice(start, end)])).toEqual(
      sorted(key).map(({ kind, start, end }) => [kind, start, source.slice(start, end)]),
    );
  });

  it("finds nothing in other text", () => {
    expect(scanLatex("")).toEqual([]);
    expect(scanLatex("Plain words, 3 < 4 & a_b^c [d].")).toEqual([]);
  });

  const pieces = [
    ..."\\{}[]()$_^&%|* \n\n ab1é𝔸".split(""),
    ...String.raw`\frac \dfrac \text \title \author \cite \ref \verb \lstinline \hat \mathrm \newcommand \def \let \url \label \\ \( \) \[ \]
      \begin{equation} \end{equation} \begin{align*} \end{align*} \begin{verbatim} \end{verbatim} \begin{abstract} \end{abstract}
      \begin{document} \end{document} \begin{a} \end{a} \begin{ \end $$`.split(/\s+/),
    "\n \n",
  ];
  const hostile = fc.oneof(
    fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => parts.join("")),
    fc.string({ unit: "binary", maxLength: 60 }),
  );

  it("never throws, and its spans are in the text and nested", () => {
    fc.assert(
      fc.property(hostile, (source) => {
        const around: number[] = [];
        let last = 0;
        for (const { start, end } of scanLatex(source)) {
          expect(start).toBeGreaterThanOrEqual(last);
          expect(end).toBeGreaterThan(start);
          expect(end).toBeLessThanOrEqual(source.length);
          while (around.length > 0 && around.at(-1)! <= start) around.pop();
          if (around.length > 0) expect(end).toBeLessThanOrEqual(around.at(-1)!);
          around.push(end);
          last = start;
        }
      }),
      { numRuns: 5000 },
    );
  });

  it("finds the same however it is paused", () => {
    fc.assert(
      fc.property(hostile, fc.integer({ min: 1, max: 7 }), (source, step) => {
        const scanner = new LatexScanner(source);
        while (!scanner.done) scanner.advance(step);
        expect(scanner.spans()).toEqual(scanLatex(source));
      }),
    );
  });

  it("does not look at what comments, verbatim text and paragraphs keep apart", () => {
    fc.assert(
      fc.property(hostile, (source) => {
        // Whatever came before, an empty line ends its formulas, and \begin{document} everything.
        const after = `${source.replaceAll(/verb|end\{document\}|lstlisting|%/g, "")}\n\n\\begin{document}`;
        const spans = scanLatex(`${after}$x$`).filter(({ start }) => start >= after.length);
        expect(spans.map(({ kind }) => kind)).toEqual(["math", "inline_math"]);
      }),
      { numRuns: 2000 },
    );
  });

  it.each(
    [
      "\\begin{a}",
      "{",
      "$\\text{",
      "\\frac",
      "^\\hat",
      "\\verb|",
      "\\verb☃",
      "\\cite[",
      "% \n$ \\text{",
      "\\newcommand{",
      "\\end{a}",
      "\\url{",
      "\\begin{equation}{",
      "\\begin",
      "\\frac{$",
      "\\[ {",
      "$x_",
      "\\let",
      "\\begin{verbatim",
    ].map((piece) => [piece]),
  )("takes time that grows with the length alone: %j over and over", (piece) => {
    // A scan whose time grows with the square of this length would take minutes.
    const source =
      piece.repeat(100_000) + "}".repeat(100_000) + "\\end{a}".repeat(20_000) + "$".repeat(20_000);
    const started = performance.now();
    scanLatex(source);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
