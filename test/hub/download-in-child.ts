/** Fetches a model's weights into a cache, as a process of its own: `download-in-child.ts name endpoint cacheFolder`. */
import { openHubModel } from "../../src/node/hub.ts";

const [name, endpoint, cacheFolder] = process.argv.slice(2);
console.log(process.pid);
const files = await openHubModel(name, { endpoint, cacheFolder, stallTimeout: 1500 });
await files.tensors();
await files.close();
