/** The frame of the page: what is allowed in it, its landmarks, its styles and its script. */
import { html, Html, visible, type HtmlPart } from "./html.ts";
import script from "./client/main.ts?page";
import styles from "./page.css?page";

export interface PageSection {
  readonly id: string;
  readonly title: string;
  readonly body: HtmlPart;
}

export interface PageContent {
  readonly title: string;
  readonly date: string | null;
  readonly notes: readonly string[];
  /** The study, in order. */
  readonly sections: readonly PageSection[];
  /** Sections that show one at a time. */
  readonly neurons: readonly Html[];
}

/** Browsers and search pages cut longer titles. */
const TITLE_LENGTH = 70;

export async function pageHtml({ title, date, notes, sections, neurons }: PageContent): Promise<string> {
  const policy = [
    "default-src 'none'",
    `style-src '${await digest(styles)}'`,
    `script-src '${await digest(script)}'`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
  const head = html`<meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="${new Html(policy)}" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <meta name="referrer" content="no-referrer" />
    <title>${shorten(visible(title))}</title>
    <link rel="icon" href="data:," />`;
  const content = html`<a class="skip" href="#content">Skip to the content</a>
    <header>
      <h1>${title}</h1>
      ${date === null ? null : html`<p class="where">${date}</p>`}
      <nav aria-label="Sections">
        <ul>
          ${sections.map((section) => html`<li><a href="#${section.id}">${section.title}</a></li>`)}
        </ul>
      </nav>
    </header>
    <main id="content" tabindex="-1">
      <div class="study">
        ${notes.map((note) => html`<p class="lead">${note}</p>`)}
        ${sections.map(
          ({ id, title: name, body }) =>
            html`<section id="${id}" aria-labelledby="${id}-title">
              <h2 id="${id}-title">${name}</h2>
              ${body}
            </section>`,
        )}
      </div>
      ${neurons}
    </main>
    <footer><p>Made with sparseprobe. This file holds all that it shows and loads nothing.</p></footer>`;
  // What the policy's hashes are of stays as it is to the letter.
  return `<!DOCTYPE html>
<html lang="en">
<head>
${tidy(head)}
<style>${styles}</style>
</head>
<body>
${tidy(content)}
<script>${script}</script>
</body>
</html>
`;
}

/** Lines end where their text ends. */
function tidy({ text }: Html): string {
  return text.replaceAll(/[ \t]+$/gm, "");
}

function shorten(title: string): string {
  const signs = Array.from(title);
  return signs.length > TITLE_LENGTH ? `${signs.slice(0, TITLE_LENGTH - 1).join("")}…` : title;
}

/** The hash by which a page's own policy allows one text. */
async function digest(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `sha256-${btoa(String.fromCharCode(...bytes))}`;
}
