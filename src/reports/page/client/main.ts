/** The page's script: tables that sort, filter and turn pages. */
import { openTable } from "./open-table.ts";

for (const table of document.querySelectorAll<HTMLElement>("[data-table]")) openTable(table);
