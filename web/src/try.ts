// Try: the model continues a prompt, or chats.

import { get, make, tell } from "./dom";
import type { Chat, Engine } from "./engine";
import { count, digits } from "./format";
import { fromFragment, hash, toFragment, type Linked } from "./link";
import type { Model, Result, Settings } from "./messages";
import * as settings from "./settings";

/** Bytes for the engine, as the command's `--ram` has them by default: for a text, and for a chat. */
const RAM = { write: 256 << 10, chat: 4 << 20 };

/** A text that is complete. */
export interface Written {
  settings: Omit<Settings, "place">;
  text: string;
  result: Result;
}

const ENDS: Record<Result["stop"], string> = {
  end_of_text: "",
  stop_string: ", stop string found",
  max_tokens: ", most tokens reached",
  context_full: ", context full",
  interrupted: ", stopped",
};

/** The figures of a text. */
export function figures(result: Result): string {
  const speed = result.rate > 0 ? ` at ${digits(result.rate)} tokens/s` : "";
  const forgotten = result.forgotten_turns > 0 ? ` · ${count(result.forgotten_turns, "turn")} forgotten` : "";
  return `${count(result.generated_tokens, "token")}${speed}${ENDS[result.stop]}${forgotten}`;
}

export class Try {
  /** The last text that ran to its end. */
  written: Written | undefined;
  private model: Model | undefined;
  private opening: Promise<unknown> = Promise.resolve();
  private waiting: Linked | null = null;
  private chat: Chat | undefined;
  private busy = false;
  private readonly prompt = get("story-prompt");
  private readonly text = get("story-text");
  private readonly message = get("try-message");

  constructor(
    private readonly engine: Engine,
    private readonly opened: (model: Model) => void,
  ) {
    get("write-form").addEventListener("submit", (event) => {
      event.preventDefault();
      settings.renewSeed();
      void this.write();
    });
    get<HTMLTextAreaElement>("prompt").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) get<HTMLFormElement>("write-form").requestSubmit();
    });
    get("stop").addEventListener("click", () => engine.stop());
    get("link").addEventListener("click", () => void this.copyLink());
    get<HTMLInputElement>("model-file").addEventListener("change", (event) => {
      const [file] = (event.target as HTMLInputElement).files ?? [];
      if (file) void this.openFile(file);
    });
    get("mode").addEventListener("change", () => this.showMode());
    get("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.say();
    });
    get("chat-stop").addEventListener("click", () => engine.stop());
    get("chat-reset").addEventListener("click", () => this.endChat());
    window.addEventListener("hashchange", () => this.follow());
  }

  /** Opens the page's model, unless the user's is there or on its way. */
  async openBundled(bytes: ArrayBuffer): Promise<void> {
    await this.opening.catch(() => undefined);
    if (!this.model) await this.open(bytes);
  }

  /** Opens a model and, if a link asks for it or it is the first one, writes. */
  async open(bytes: ArrayBuffer): Promise<void> {
    const first = this.model === undefined;
    this.endChat();
    const opening = this.engine.open(bytes);
    this.opening = opening;
    const model = await opening;
    this.model = model;
    get("model-line").textContent =
      `${model.name}: ${count(model.parameters, "parameter")}, ${count(model.layers, "layer")}, a context of ${model.context} · model ${hash(model.sha256)}`;
    const modes = get("mode");
    modes.hidden = !model.chat;
    (modes.querySelector(`[value=${model.chat ? "chat" : "write"}]`) as HTMLInputElement).checked = true;
    this.showMode();
    tell(this.message, null);
    this.opened(model);
    const linked = this.waiting ?? fromFragment(location.hash.slice(1));
    if (linked) return this.reproduce(linked);
    if (first) {
      settings.renewSeed();
      await this.write();
    }
  }

  /** Opens a file of the user's. */
  async openFile(file: Blob): Promise<void> {
    tell(this.message, "The model is loading.");
    try {
      await this.open(await file.arrayBuffer());
    } catch (error) {
      tell(this.message, (error as Error).message, "error");
    }
  }

  /** A link in the address bar. */
  private follow() {
    const linked = fromFragment(location.hash.slice(1));
    if (linked && this.model) void this.reproduce(linked);
  }

  private async reproduce(linked: Linked): Promise<void> {
    settings.show(linked);
    this.setMode("write");
    if (linked.model !== hash(this.model!.sha256)) {
      this.waiting = linked;
      tell(this.message, `This link is to a text of the model ${linked.model}, and this is ${hash(this.model!.sha256)}. Open that model's file under “Another model”, and the text will be the same.`);
      return;
    }
    this.waiting = null;
    if (this.busy) this.engine.stop();
    await this.write();
  }

  private async write(): Promise<void> {
    const chosen = settings.read();
    this.busy = true;
    get<HTMLButtonElement>("stop").disabled = false;
    get("link-message").textContent = "";
    tell(this.message, null);
    [this.prompt.textContent, this.text.textContent] = [chosen.prompt, ""];
    const place = { kind: "computer", ram: RAM.write } as const;
    try {
      const result = await this.engine.write(
        { ...chosen, place },
        0,
        (progress) => {
          this.text.append(progress.piece);
          get("figures").textContent = `${count(progress.generated, "token")}${progress.rate > 0 ? ` at ${digits(progress.rate)} tokens/s` : ""}`;
        },
      );
      this.text.append(result.rest);
      get("figures").textContent = `${figures(result)} · the first after ${Math.round(result.secondsToFirst * 1000)} ms · seed ${chosen.seed}`;
      this.written = { settings: chosen, text: this.text.textContent ?? "", result };
    } catch (error) {
      tell(this.message, (error as Error).message, "error");
    }
    get<HTMLButtonElement>("stop").disabled = true;
    this.busy = false;
  }

  private async copyLink(): Promise<void> {
    if (!this.model) return;
    const of = this.written?.settings ?? settings.read();
    const fragment = toFragment(of, this.model.sha256);
    history.replaceState(null, "", `#${fragment}`);
    const said = get("link-message");
    try {
      await navigator.clipboard.writeText(location.href);
      said.textContent = "Copied. It gives the same text on every computer.";
    } catch {
      said.textContent = "The link is in the address bar.";
    }
  }

  private setMode(mode: "write" | "chat") {
    (get("mode").querySelector(`[value=${mode}]`) as HTMLInputElement).checked = true;
    this.showMode();
  }

  private showMode() {
    const chats = Boolean(this.model?.chat) && (get("mode").querySelector(":checked") as HTMLInputElement).value === "chat";
    for (const id of ["write-form", "story", "figures"]) get(id).hidden = chats;
    get("chat").hidden = !chats;
    if (!chats) this.endChat();
  }

  private say() {
    const input = get<HTMLTextAreaElement>("chat-text");
    const said = input.value.trim();
    if (!said || this.busy) return;
    input.value = "";
    tell(this.message, null);
    const log = get("chat-log");
    const answer = make("span");
    log.append(make("p", { class: "turn" }, make("b", {}, "You"), said), make("p", { class: "turn" }, make("b", {}, "Model"), answer));
    this.answering(true);
    settings.renewSeed();
    if (!this.chat) {
      const place = { kind: "computer", ram: RAM.chat } as const;
      const chosen = { ...settings.read(), prompt: get<HTMLInputElement>("chat-system").value, place };
      const last = () => log.lastElementChild!.lastElementChild!;
      this.chat = this.engine.chat(
        chosen,
        (progress) => last().append(progress.piece),
        (result) => {
          last().append(result.rest);
          get("chat-figures").textContent = figures(result);
          this.answering(false);
        },
        (message) => {
          this.chat = undefined;
          this.answering(false);
          if (message) tell(this.message, message, "error");
        },
      );
    }
    this.chat.say(said);
    log.scrollTop = log.scrollHeight;
  }

  private answering(busy: boolean) {
    this.busy = busy;
    get("chat-form").querySelector<HTMLButtonElement>(".main")!.disabled = busy;
    get<HTMLButtonElement>("chat-stop").disabled = !busy;
  }

  private endChat() {
    this.chat?.end();
    this.chat = undefined;
    get("chat-log").replaceChildren();
    get("chat-figures").textContent = "";
  }
}
