/** The frame of the page: what is allowed in it, its styles and its script. */
import { html, Html, type HtmlPart } from "./html.ts";
import script from "./client/main.ts?page";
import styles from "./page.css?page";

export interface PageContent {
  readonly title: string;
  readonly body: HtmlPart;
}

/** Browsers and readers cut longer titles. */
const TITLE_LENGTH = 70;

export async function pageHtml({ title, body }: PageContent): Promise<string> {
  const policy = [
    "default-src 'none'",
    `style-src '${await digest(styles)}'`,
    `script-src '${await digest(script)}'`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ");
  const { text } = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${new Html(policy)}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <title>${shorten(title)}</title>
        <link rel="icon" href="data:," />
        <style>
          ${new Html(styles)}
        </style>
      </head>
      <body>
        ${body}
        <script>
          ${new Html(script)};
        </script>
      </body>
    </html> `;
  return text;
}

function shorten(title: string): string {
  const signs = [...title];
  return signs.length > TITLE_LENGTH ? `${signs.slice(0, TITLE_LENGTH - 1).join("")}…` : title;
}

/** The hash by which a page's own policy allows one text. */
async function digest(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return `sha256-${btoa(String.fromCharCode(...bytes))}`;
}
