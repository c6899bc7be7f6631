// The page: the engine starts, the bundled model writes, and the parts of the page share both.

import bundled from "#parts/rill-tales-1m.rillm?url";
import { Convert } from "./convert";
import { get, tell } from "./dom";
import { Engine } from "./engine";
import { Flash } from "./flash";
import { See } from "./see";
import { Try } from "./try";

async function fetched(url: string): Promise<ArrayBuffer> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the page's file ${url} is not there (${response.status}); load the page again`);
  return response.arrayBuffer();
}

/** Says how much was downloaded, as the build has measured it. */
async function sayDownload() {
  const response = await fetch("downloads.json");
  if (!response.ok) return;
  const { compressed } = (await response.json()) as { compressed: number };
  get("download").textContent = `The whole download, model included, is ${(compressed / 1e6).toFixed(2)} MB compressed.`;
}

async function start() {
  const model = fetched(bundled);
  const engine = new Engine();
  const see = new See(engine, () => writer.written);
  const writer = new Try(engine, (model) => {
    see.opened(model);
    flash.opened(model);
  });
  const flash = new Flash(engine, async (file) => writer.open(await file.arrayBuffer()));
  void flash.start();
  new Convert((file) => writer.openFile(file));
  await see.start();
  await writer.openBundled(await model);
}

start().catch((error: Error) => tell(get("try-message"), error.message, "error"));
void sayDownload();
if ("serviceWorker" in navigator) void navigator.serviceWorker.register("sw.js");
