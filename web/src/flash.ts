// Flash: a prebuilt image is written to a board, with the model that the page has open if that is wanted, and the same port becomes
// the board's console.

import { md5 } from "js-md5";
import { get, make, save, tell } from "./dom";
import type { Engine } from "./engine";
import { bytes, group, range } from "./format";
import { hash } from "./link";
import type { Model } from "./messages";
import { bar, type Part } from "./ram-map";
import { SerialConsole } from "./serial-console";
import * as settings from "./settings";

/** An image of the manifest that `cargo xtask esp image` writes; `chipFamily` and `parts` are those of ESP Web Tools. */
interface Image {
  board: string;
  name: string;
  chipFamily: string;
  flash: number;
  bytes: number;
  sha256: string;
  /** The model in it, and the length of the longest one that can take its place. */
  model: { bytes: number; longest: number; sha256: string };
  parts: { path: string; offset: number }[];
}

/** Of the boards' USB bridges, and fast enough. */
const BAUD = 460_800;
/** Tokens that the board and the page compare. */
const COMPARED = 24;
/** Seconds that a board may take for an answer: a minute a token would be slower than any board. */
const PATIENCE = 900;

const wordsOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

export class Flash {
  private images: Image[] = [];
  /** The model that the page has open. */
  private model: Model | undefined;
  private described = 0;
  private fits = true;
  private port: SerialPort | undefined;
  private console: SerialConsole | undefined;
  private readonly message = get("flash-message");

  constructor(
    private readonly engine: Engine,
    open: (file: File) => Promise<void>,
  ) {
    get("flash-write").addEventListener("click", () => void this.act(() => this.write()));
    get("console-open").addEventListener("click", () => void this.act(() => this.open()));
    get("console-close").addEventListener("click", () => void this.act(() => this.close()));
    get("compare").addEventListener("click", () => void this.act(() => this.compare()));
    for (const id of ["flash-board", "flash-model"]) get(id).addEventListener("change", () => void this.describe());
    get<HTMLInputElement>("flash-file").addEventListener("change", (event) => {
      const input = event.target as HTMLInputElement;
      const [file] = input.files ?? [];
      if (file) void this.act(() => open(file));
      // The same file can be chosen again.
      input.value = "";
    });
    get("console-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const input = get<HTMLInputElement>("console-line");
      const line = input.value;
      input.value = "";
      void this.act(async () => this.console?.send(line));
    });
  }

  async start(): Promise<void> {
    const response = await fetch("images/manifest.json").catch(() => undefined);
    if (response?.ok && response.headers.get("content-type")?.includes("json")) {
      const manifest = (await response.json()) as { version: string; images: Image[] };
      this.images = manifest.images;
      get("flash-board").replaceChildren(...this.images.map((image) => make("option", { value: image.board }, image.name)));
      this.offer();
    }
    get("flash-none").hidden = this.images.length > 0;
    const serial = "serial" in navigator;
    get("flash-no-serial").hidden = serial;
    get("flash-controls").hidden = !serial;
    for (const id of ["flash-choice", "flash-write"]) get(id).hidden = this.images.length === 0;
  }

  /** A model was opened. */
  opened(model: Model) {
    this.model = model;
    this.offer();
  }

  /** Offers the open model, unless it is that of the images. */
  private offer() {
    const other = this.model && this.images[0] && this.model.sha256 !== this.images[0].model.sha256;
    const options = [make("option", { value: "image" }, "the bundled one")];
    if (other) options.unshift(make("option", { value: "open" }, `the one that is open: ${this.model!.name}`));
    get("flash-model").replaceChildren(...options);
    void this.describe();
  }

  /** The model to flash in place of the image's. */
  private other(): Model | undefined {
    return get<HTMLSelectElement>("flash-model").value === "open" ? this.model : undefined;
  }

  private image(): Image | undefined {
    const board = get<HTMLSelectElement>("flash-board").value;
    return this.images.find((image) => image.board === board);
  }

  /** Shows what is in the image, how much of the flash that takes, and whether it will run. */
  private async describe(): Promise<void> {
    const [image, other, described] = [this.image(), this.other(), ++this.described];
    if (!image) return;
    this.draw(image, other);
    const path = image.parts[0]!.path;
    if (other) {
      const button = make("button", { type: "button" }, "Download the image with this model");
      button.addEventListener("click", () => void this.act(() => this.download(image, other)));
      get("flash-image").replaceChildren(`${image.chipFamily}, ${bytes(image.flash)} of flash. `, button);
    } else {
      const link = make("a", { href: `images/${path}`, download: "" }, "Download the image");
      get("flash-image").replaceChildren(`${image.chipFamily}, ${bytes(image.flash)} of flash; the image has ${bytes(image.bytes)}. `, link, `. SHA-256 ${image.sha256}`);
    }
    const [words, fits] = other ? await this.judge(image, other) : [null, true];
    if (described !== this.described) return;
    this.fits = fits;
    tell(get("flash-fit"), words, fits ? "note" : "error");
    for (const button of [get<HTMLButtonElement>("flash-write"), get("flash-image").querySelector("button")]) {
      if (button) button.disabled = !fits;
    }
  }

  private draw(image: Image, other: Model | undefined) {
    const [firmware, model] = [image.bytes - image.model.bytes, other?.bytes ?? image.model.bytes];
    const parts: Part[] = [
      { name: "firmware", bytes: firmware, kind: "work" },
      { name: "model", bytes: model, kind: "streamed" },
      { name: "free", bytes: Math.max(0, image.flash - firmware - model), kind: "free" },
    ];
    const words = parts.map((part) => `${part.name} ${bytes(part.bytes)}`).join(", ");
    const drawing = bar(parts, Math.max(image.flash, firmware + model), 14, `Flash, ${bytes(image.flash)}: ${words}`);
    const legend = parts.map((part) => make("li", {}, make("i", { class: `swatch ${part.kind}` }), `${part.name}, ${bytes(part.bytes)}`));
    get("flash-use").hidden = false;
    get("flash-map").replaceChildren(drawing, make("ul", { class: "legend", "aria-label": "What is in the flash" }, ...legend));
  }

  /** Whether a board has flash and memory for a model, in words. */
  private async judge(image: Image, model: Model): Promise<[string, boolean]> {
    if (model.bytes > image.model.longest) {
      return [`${model.name} has ${group(model.bytes)} bytes, and beside the firmware the flash has room for ${group(image.model.longest)}: put it on a card.`, false];
    }
    try {
      const plan = await this.engine.plan({ board: image.board, flash: true, budget: null });
      return [`${model.name} will have a context of ${plan.context}, and write ${range(plan.tokens_per_second, "tokens/s")} by a model of the board, not measured.`, true];
    } catch (error) {
      return [`${wordsOf(error)}.`, false];
    }
  }

  /** The image with the open model in it. */
  private async download(image: Image, model: Model): Promise<void> {
    const made = await this.engine.inImage(await this.load(image));
    save(new Blob([made], { type: "application/octet-stream" }), image.parts[0]!.path.replace(/(\.bin)?$/, `-${hash(model.sha256)}.bin`));
  }

  /** Does one thing after the other, and tells what went wrong. */
  private async act(work: () => Promise<void>): Promise<void> {
    const buttons = ["flash-write", "console-open", "compare"].map((id) => get<HTMLButtonElement>(id));
    buttons.forEach((button) => (button.disabled = true));
    try {
      await work();
    } catch (error) {
      // The user closed the browser's list of ports.
      if ((error as DOMException).name !== "NotFoundError") tell(this.message, `${wordsOf(error)}.`, "error");
    }
    buttons.forEach((button) => (button.disabled = false));
    get<HTMLButtonElement>("flash-write").disabled = !this.fits;
    get<HTMLButtonElement>("compare").disabled = !this.console;
    get("flash-progress").hidden = true;
  }

  private async write(): Promise<void> {
    const [image, other] = [this.image(), this.other()];
    if (!image) return;
    await this.close();
    const port = await navigator.serial.requestPort();
    this.step("Loading the image", 0, 0);
    const bundled = await this.load(image);
    const data = other ? await this.engine.inImage(bundled) : bundled;
    // Only a user who flashes needs it.
    const { ESPLoader, Transport } = await import("esptool-js");
    const transport = new Transport(port);
    // Its words are for developers.
    transport.trace = () => {};
    const quiet = { clean() {}, write() {}, writeLine: () => {} };
    const loader = new ESPLoader({ transport, baudrate: BAUD, terminal: quiet });
    try {
      this.step("Connecting; if nothing happens, hold BOOT while you press RESET", 0, 0);
      await loader.main();
      const found = loader.chip.CHIP_NAME;
      if (found !== image.chipFamily) throw new Error(`the board has the chip ${found}, and the image of ${image.name} is for ${image.chipFamily}; choose the board that is connected`);
      await loader.writeFlash({
        fileArray: [{ data, address: image.parts[0]!.offset }],
        flashMode: "keep",
        flashFreq: "keep",
        flashSize: "keep",
        eraseAll: false,
        compress: true,
        reportProgress: (_, done, of) => this.step("Writing the flash", done, of),
        calculateMD5Hash: (written) => md5(written),
      });
    } finally {
      await transport.disconnect();
    }
    tell(this.message, `The flash holds the image: the board\u2019s MD5 of it is right. The board starts.`);
    this.port = port;
    await this.listen(port);
    await this.console!.reset();
  }

  /** The image, whose checksum is the manifest's. */
  private async load(image: Image): Promise<Uint8Array<ArrayBuffer>> {
    const path = image.parts[0]!.path;
    const response = await fetch(`images/${path}`);
    if (!response.ok) throw new Error(`the image ${path} is not there (${response.status}); load the page again`);
    const data = await response.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (sha256 !== image.sha256) throw new Error(`the image ${path} was not received whole: its SHA-256 is ${sha256}; load the page again`);
    return new Uint8Array(data);
  }

  private async open(): Promise<void> {
    await this.close();
    this.port = await navigator.serial.requestPort();
    await this.listen(this.port);
  }

  private async listen(port: SerialPort): Promise<void> {
    const log = get("console-log");
    const shown = (text: string) => {
      log.append(text.replaceAll("\r", ""));
      log.scrollTop = log.scrollHeight;
    };
    const opened = new SerialConsole(port, shown);
    await opened.open();
    this.console = opened;
    get("console").hidden = false;
  }

  private async close(): Promise<void> {
    await this.console?.close();
    this.console = undefined;
    get("console").hidden = true;
  }

  /** The board and the page continue the same prompt, and their check lines are compared. */
  private async compare(): Promise<void> {
    const board = this.console;
    if (!board) return;
    const verdict = get("compared");
    tell(verdict, "The board writes.");
    const chosen = settings.read();
    const prompt = chosen.prompt.split("\n")[0]!.trim() || "Once upon a time";
    const greedy = { ...chosen, prompt, temperature: "0", repeat_penalty: "1", stop: [], max_tokens: COMPARED, seed: "1" };
    const result = await this.engine.write({ ...greedy, place: { kind: "computer", ram: 256 << 10 } }, 0, () => {});
    for (const line of ["/reset", "/check on", "/temp 0", `/max ${COMPARED}`]) await board.ask(line, /\n> $/, 30);
    const answer = await board.ask(prompt, /(check: [^\r\n]+)\r?\n/, PATIENCE);
    const same = answer[1] === result.check;
    const words = `${COMPARED} tokens and the fingerprint of all their logits`;
    tell(
      verdict,
      same
        ? `Your board computes the same bits as this page: ${words} are equal.`
        : `The board\u2019s answer differs from the page\u2019s. Does the board have the model that the page has open? Board: ${answer[1]}. Page: ${result.check}`,
      same ? "note" : "error",
    );
  }

  private step(what: string, done: number, of: number) {
    get("flash-progress").hidden = false;
    tell(this.message, null);
    const bar = get<HTMLProgressElement>("flash-bar");
    if (of > 0) [bar.max, bar.value] = [of, done];
    else bar.removeAttribute("value");
    get("flash-step").textContent = of > 0 ? `${what}, ${Math.floor((100 * done) / of)} %` : `${what}.`;
  }
}
