// The engine, in a Worker: one model file, and one text or chat at a time.

import init, { ModelFile, boards } from "#parts/engine/engine.js";
import wasm from "#parts/engine/engine_bg.wasm?url";
import { START, type Progress, type Reply, type Request, type Result, type Settings } from "./messages";

/** Milliseconds of computing between two looks at the messages. */
const SLICE = 24;

const reply = (message: Reply) => postMessage(message);
let file: ModelFile | undefined;
let running: Listener | undefined;
/** What was said in chats and is not answered yet, and what to do when there is more. */
let sayings: { id: number; text: string | null }[] = [];
let said = () => {};

// Everything that opens or computes, one after the other.
let queue: Promise<void> = init({ module_or_path: wasm }).then(
  () => reply({ id: START, type: "ready", boards: JSON.parse(boards()) }),
  (error) => reply({ id: START, type: "failed", message: `the engine cannot start: ${words(error)}` }),
);

onmessage = ({ data }: MessageEvent<Request>) => {
  if (data.type === "stop") running?.stop();
  else if (data.type === "say") {
    sayings.push(data);
    said();
  }
  else {
    const { id } = data;
    // A plan need not wait for a text.
    const failed = (error: unknown) => reply({ id, type: "failed", message: words(error) });
    if (data.type === "plan") handle(data).catch(failed);
    else queue = queue.then(() => handle(data)).catch(failed);
  }
};

async function handle(request: Exclude<Request, { type: "stop" | "say" }>) {
  const { id } = request;
  switch (request.type) {
    case "open": {
      const digest = await crypto.subtle.digest("SHA-256", request.bytes);
      const next = new ModelFile(new Uint8Array(request.bytes));
      const described = JSON.parse(next.describe());
      file?.free();
      file = next;
      return reply({ id, type: "opened", model: { ...described, sha256: hex(digest) } });
    }
    case "plan":
      return reply({ id, type: "planned", plan: JSON.parse(opened().plan(JSON.stringify(request.choice))) });
    case "flash": {
      const image = opened().in_image(request.image) as Uint8Array<ArrayBuffer>;
      return postMessage({ id, type: "flashed", image } satisfies Reply, { transfer: [image.buffer] });
    }
    case "write":
      return run(id, request.settings, request.pace, async (settings, listener) => {
        listener.end(JSON.parse(await opened().write(settings, listener)));
      });
    case "chat":
      return run(id, request.settings, 0, async (settings, listener) => {
        await opened().chat(settings, listener);
        reply({ id, type: "done", result: null });
      });
  }
}

async function run(id: number, settings: Settings, pace: number, work: (settings: string, listener: Listener) => Promise<void>) {
  running = new Listener(id, pace);
  try {
    await work(JSON.stringify(settings), running);
  } finally {
    running = undefined;
  }
}

function opened(): ModelFile {
  if (!file) throw new Error("no model is open");
  return file;
}

const words = (error: unknown) => (error instanceof Error ? error.message : String(error));
const hex = (bytes: ArrayBuffer) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A turn of the event loop, without the wait that timers have. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Hears from the engine after every step, tells the page now and then, and keeps the pace. */
class Listener {
  private stopped = false;
  private wake = () => {};
  private start = performance.now();
  private first = 0;
  private last = 0;
  private looked = performance.now();
  private progress: Progress = { piece: "", tokens: 0, generated: 0, reads: 0, bytes: 0, seeks: 0, rate: 0 };

  /** @param pace Seconds that a token takes, 0 for as fast as it goes. */
  constructor(
    private readonly id: number,
    private readonly pace: number,
  ) {}

  opened(info: string) {
    reply({ id: this.id, type: "started", ...JSON.parse(info) });
  }

  step(piece: string, tokens: number, generated: number, reads: number, bytes: number, seeks: number): Promise<boolean> | undefined {
    const now = performance.now();
    const { progress } = this;
    if (generated > 0) {
      if (progress.generated === 0) this.first = now;
      this.last = now;
    }
    Object.assign(progress, { piece: progress.piece + piece, tokens, generated, reads, bytes, seeks });
    progress.rate = this.rate();
    if (this.pace > 0) {
      this.tell();
      return this.wait(this.pace * 1000).then(() => this.stopped);
    }
    if (now - this.looked < SLICE) return undefined;
    this.tell();
    return turn().then(() => {
      this.looked = performance.now();
      return this.stopped;
    });
  }

  async answered(result: string | undefined): Promise<string | undefined> {
    if (result) this.end(JSON.parse(result));
    sayings = sayings.filter(({ id }) => id >= this.id);
    const next = () => sayings.findIndex(({ id }) => id === this.id);
    while (next() < 0) await new Promise<void>((resolve) => (said = resolve));
    this.stopped = false;
    this.start = this.looked = performance.now();
    this.first = this.last = 0;
    this.progress.generated = 0;
    return sayings.splice(next(), 1)[0]!.text ?? undefined;
  }

  stop() {
    this.stopped = true;
    this.wake();
  }

  end(result: Omit<Result, "rate" | "secondsToFirst">) {
    this.tell();
    const secondsToFirst = this.first > 0 ? (this.first - this.start) / 1000 : 0;
    reply({ id: this.id, type: "done", result: { ...result, rate: this.rate(), secondsToFirst } });
  }

  private rate(): number {
    const tokens = this.progress.generated - 1;
    return tokens > 0 && this.last > this.first ? (tokens * 1000) / (this.last - this.first) : 0;
  }

  private tell() {
    reply({ id: this.id, type: "progress", progress: this.progress });
    this.progress = { ...this.progress, piece: "" };
  }

  private wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
