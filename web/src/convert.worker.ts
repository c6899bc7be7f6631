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

export interface Report {
  model: { name: string; bytes: number; bits_per_weight: number; bytes_per_token: number; chat: boolean };
  boards: ({ board: string; name: string } & (Omit<Plan, "board"> | { error: string }))[];
}

export type Step =
  | { type: "step"; what: string; done: number; of: number }
  | { type: "failed"; message: string }
  | { type: "converted"; report: Report; file: Blob };

const say = (step: Step) => postMessage(step);

onmessage = ({ data }: MessageEvent<Conversion>) => {
  convert(data).catch((error: unknown) => say({ type: "failed", message: error instanceof Error ? error.message : String(error) }));
};

/** Without the folders that only exist here. */
const readable = (message: string) => message.replaceAll(/\/(in|out)\//g, "");

async function convert({ files, source, bits }: Conversion): Promise<void> {
  say({ type: "step", what: "loading the converter", done: 0, of: 0 });
  const module = await WebAssembly.compileStreaming(fetch(wasm));
  const output = await OutputDirectory.create("converted.rillm");
  const out = new PreopenDirectory("/out", new Map());
  out.dir = output;
  let result: { report: Report } | { error: string } | undefined;
  let panic = "";
  const stdout = ConsoleStdout.lineBuffered((line) => {
    const message = JSON.parse(line);
    if ("what" in message) say({ type: "step", ...message });
    else result = "error" in message ? message : { report: message };
  });
  const stderr = ConsoleStdout.lineBuffered((line) => (panic += `${line}\n`));
  const input = new PreopenDirectory("/in", userFiles(files) as never);
  const wasi = new WASI(["rillm-web-convert", `/in/${source}`, "/out/model.rillm", bits], [], [new OpenFile(new ShimFile([])), stdout, stderr, input, out]);
  say({ type: "step", what: "reading the checkpoint", done: 0, of: 0 });
  const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport });
  try {
    wasi.start(instance as never);
  } catch (error) {
    if (!result) result = { error: broken(panic, error) };
  }
  const file = await output.take();
  if (result && "report" in result) say({ type: "converted", report: result.report, file });
  else say({ type: "failed", message: readable(result?.error ?? broken(panic, "the converter ended without a result")) });
}

/** Why the converter stopped in the middle. */
function broken(panic: string, error: unknown): string {
  if (/memory allocation|capacity overflow/.test(panic)) {
    return "the checkpoint needs more than the 4 GiB of memory that a page has; convert it with the rillm command, or to 8 bits";
  }
  if (error instanceof RangeError) return "the chat template nests deeper than a page can follow; convert the checkpoint with the rillm command";
  return panic.trim() || String(error);
}
