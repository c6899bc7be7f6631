// The converter, in a Worker: the command's conversion, compiled for WASI.

import { ConsoleStdout, OpenFile, File as ShimFile, PreopenDirectory, WASI } from "@bjorn3/browser_wasi_shim";
import wasm from "#parts/convert.wasm?url";
import type { Plan } from "./messages";
import { OutputDirectory, userFiles } from "./wasi-files";

export interface Conversion {
  /** Files by their paths, with `/` between folders. */
  files: { path: string; file: Blob }[];
  /** The file or folder among them that is the checkpoint. */
  source: string;
  bits: "8" | "4";
}

/** A card with one model on it. */
export interface Card {
  name: string;
  model: Blob;
}

export interface Report {
  model: { name: string; bytes: number; bits_per_weight: number; bytes_per_token: number; chat: boolean };
  boards: ({ board: string; name: string } & (Omit<Plan, "board"> | { error: string }))[];
}

export type Step =
  | { type: "step"; what: string; done: number; of: number }
  | { type: "failed"; message: string }
  | { type: "converted"; report: Report; file: Blob }
  | { type: "card"; image: Blob };

const say = (step: Step) => postMessage(step);

onmessage = ({ data }: MessageEvent<Conversion | Card>) => {
  const work = "model" in data ? card(data) : convert(data);
  work.catch((error: unknown) => say({ type: "failed", message: error instanceof Error ? error.message : String(error) }));
};

/** Without the folders that only exist here. */
const readable = (message: string) => message.replaceAll(/\/(in|out)\//g, "");

async function convert({ files, source, bits }: Conversion): Promise<void> {
  const { report, file } = await run([`/in/${source}`, "/out/model.rillm", bits], files, "converted.rillm");
  say({ type: "converted", report: report as Report, file });
}

async function card({ name, model }: Card): Promise<void> {
  const { file } = await run(["card", `/in/${name}`, "/out/card.img"], [{ path: name, file: model }], "card.img");
  say({ type: "card", image: file });
}

/** Runs the program. Returns the last line of its output, and the file that it has made, which is kept under a name. */
async function run(args: string[], files: Conversion["files"], name: string): Promise<{ report: object; file: Blob }> {
  say({ type: "step", what: "loading the converter", done: 0, of: 0 });
  const module = await WebAssembly.compileStreaming(fetch(wasm));
  const output = await OutputDirectory.create(name);
  const out = new PreopenDirectory("/out", new Map());
  out.dir = output;
  let report: object | undefined;
  let panic = "";
  const stdout = ConsoleStdout.lineBuffered((line) => {
    const message = JSON.parse(line);
    if ("what" in message) say({ type: "step", ...message });
    else report = message;
  });
  const stderr = ConsoleStdout.lineBuffered((line) => (panic += `${line}\n`));
  const input = new PreopenDirectory("/in", userFiles(files) as never);
  const wasi = new WASI(["rillm-web-convert", ...args], [], [new OpenFile(new ShimFile([])), stdout, stderr, input, out]);
  say({ type: "step", what: "reading the files", done: 0, of: 0 });
  const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport });
  try {
    wasi.start(instance as never);
  } catch (error) {
    report ??= { error: broken(panic, error) };
  }
  const file = await output.take();
  report ??= { error: broken(panic, "the converter ended without a result") };
  if ("error" in report) throw new Error(readable(String(report.error)));
  return { report, file };
}

/** Why the converter stopped in the middle. */
function broken(panic: string, error: unknown): string {
  if (/memory allocation|capacity overflow/.test(panic)) {
    return "the checkpoint needs more than the 4 GiB of memory that a page has; convert it with the rillm command, or to 8 bits";
  }
  if (error instanceof RangeError) return "the chat template nests deeper than a page can follow; convert the checkpoint with the rillm command";
  return panic.trim() || String(error);
}
