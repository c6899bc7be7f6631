// Convert: a checkpoint of the user's becomes a model file.

import type { Card, Conversion, Report, Step } from "./convert.worker";
import { get, make, save, tell } from "./dom";
import { bytes, range } from "./format";

type Dropped = { path: string; file: File };

/** The tokenizers of llama2.c, which lie beside its checkpoints. */
const TOKENIZER = /^tok(enizer|\d+)\.bin$/;

/** What of the files is the checkpoint, and a name for what is made of it. */
export function sourceOf(files: { path: string }[]): { source: string; files: (path: string) => string } | string {
  const [first] = files;
  if (!first) return "There is no file in it. Choose a GGUF file, a folder with safetensors, or a llama2.c checkpoint with its tokenizer.";
  const same = (path: string) => path;
  const [folder, ...rest] = first.path.split("/");
  if (rest.length > 0) return { source: folder!, files: same };
  // Files of a folder without their folder.
  if (files.some(({ path }) => path === "config.json" || path === "model_config.json")) return { source: "checkpoint", files: (path) => `checkpoint/${path}` };
  if (files.some(({ path }) => path.endsWith(".rillm"))) return "This is a model file already. Open it under “Another model” above.";
  const source = files.find(({ path }) => !TOKENIZER.test(path)) ?? first;
  return { source: source.path, files: same };
}

/** The files of a drop, those of folders included. */
async function dropped(transfer: DataTransfer): Promise<Dropped[]> {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files: Dropped[] = [];
  const walk = async (entry: FileSystemEntry, path: string): Promise<void> => {
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      files.push({ path: path + entry.name, file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    // A reader gives a hundred entries at a time.
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const child of some) await walk(child, `${path}${entry.name}/`);
    }
  };
  for (const entry of entries) await walk(entry, "");
  return files;
}

export class Convert {
  private worker: Worker | undefined;
  private readonly message = get("convert-message");
  private name = "model.rillm";
  private file: Blob | undefined;

  constructor(private readonly open: (file: Blob) => Promise<void>) {
    const drop = get("drop");
    for (const type of ["dragenter", "dragover"]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.add("over");
      });
    }
    for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      void dropped(event.dataTransfer!).then((files) => this.convert(files));
    });
    for (const id of ["checkpoint-files", "checkpoint-folder"]) {
      get<HTMLInputElement>(id).addEventListener("change", (event) => {
        const input = event.target as HTMLInputElement;
        const files = Array.from(input.files ?? [], (file) => ({ path: file.webkitRelativePath || file.name, file }));
        // The same files can be chosen again.
        input.value = "";
        this.convert(files);
      });
    }
    get("convert-cancel").addEventListener("click", () => {
      this.end();
      tell(this.message, "Cancelled. Nothing was made.");
    });
    get("convert-save").addEventListener("click", () => this.file && save(this.file, this.name));
    get("convert-card").addEventListener("click", () => {
      if (this.file) this.run({ name: this.name, model: this.file }, "Writing the image");
    });
    for (const [button, part] of [["convert-open", "try"], ["convert-flash", "flash"]] as const) {
      get(button).addEventListener("click", () => {
        if (!this.file) return;
        void this.open(this.file);
        get(part).scrollIntoView();
      });
    }
  }

  private convert(files: Dropped[]) {
    get("converted").hidden = true;
    const chosen = sourceOf(files);
    if (typeof chosen === "string") return tell(this.message, chosen, "error");
    tell(this.message, null);
    const bits = (document.querySelector("input[name=bits]:checked") as HTMLInputElement).value as "8" | "4";
    this.name = `${chosen.source.replace(/\.(gguf|bin)$/i, "").toLowerCase()}.rillm`;
    this.run({ files: files.map(({ path, file }) => ({ path: chosen.files(path), file })), source: chosen.source, bits }, "reading the files");
  }

  /** Gives the converter something to do. */
  private run(work: Conversion | Card, what: string) {
    this.end();
    tell(this.message, null);
    get("convert-progress").hidden = false;
    this.step({ type: "step", what, done: 0, of: 0 });
    this.worker = new Worker(new URL("./convert.worker.ts", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }: MessageEvent<Step>) => this.hear(data);
    this.worker.onerror = (event) => this.hear({ type: "failed", message: event.message || "the converter has stopped" });
    this.worker.postMessage(work);
  }

  private hear(step: Step) {
    if (step.type === "step") return this.step(step);
    this.end();
    if (step.type === "failed") return tell(this.message, `${step.message}.`.replace(/\.\.$/, "."), "error");
    if (step.type === "card") return save(step.image, this.name.replace(/\.rillm$/, ".img"));
    this.file = step.file;
    this.show(step.report);
  }

  private step({ what, done, of }: Extract<Step, { type: "step" }>) {
    const bar = get<HTMLProgressElement>("convert-bar");
    if (of > 0) [bar.max, bar.value] = [of, done];
    else bar.removeAttribute("value");
    const percent = of > 0 ? `, ${Math.floor((100 * done) / of)} %` : "";
    get("convert-step").textContent = what.charAt(0).toUpperCase() + what.slice(1) + percent;
  }

  private end() {
    this.worker?.terminate();
    this.worker = undefined;
    get("convert-progress").hidden = true;
  }

  private show({ model, boards }: Report) {
    get("converted").hidden = false;
    get("converted-line").textContent =
      `${this.name}: ${bytes(model.bytes)}, ${model.bits_per_weight.toFixed(2)} bits a weight${model.chat ? ", made for chats" : ""}. A token reads ${bytes(model.bytes_per_token)} where nothing stays in memory.`;
    const cell = (text: string) => make("td", {}, text);
    const rows = boards.map((board) =>
      "error" in board
        ? make("tr", {}, cell(board.name), make("td", { colspan: "3" }, `does not run: ${board.error}`))
        : make("tr", {}, cell(board.name), cell(`${bytes(board.ram_used + board.external_used)}, a context of ${board.context}`), cell(bytes(board.bytes_per_token)), cell(range(board.tokens_per_second, "tokens/s"))),
    );
    const names = ["Board", "Memory", "From the card, a token", "Speed by a model, not measured"];
    get("converted-boards").replaceChildren(
      make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...rows),
    );
    get("convert-save").focus();
  }
}
