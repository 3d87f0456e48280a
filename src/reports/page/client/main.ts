/** The page's script: tables that sort, filter and turn pages, and one neuron at a time. */
import { openTable } from "./open-table.ts";
import { openViews } from "./views.ts";

openViews();
for (const table of document.querySelectorAll<HTMLElement>("[data-table]")) void openTable(table);
