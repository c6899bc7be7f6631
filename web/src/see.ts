// See: a model in the memory of a board.

import { get, make, tell } from "./dom";
import type { Engine } from "./engine";
import { bytes, count, digits, group, range } from "./format";
import type { Board, BoardChoice, Model, Plan, Progress } from "./messages";
import { showMemory } from "./ram-map";
import * as settings from "./settings";
import { Tape } from "./tape";
import { figures } from "./try";

/** The board that is shown first: it streams, whatever the model. */
const FIRST = "esp32-c3";
/** Least memory that the slider offers, in bytes. */
const LEAST = 8 << 10;

export class See {
  private readonly tape = new Tape();
  private boards: Board[] = [];
  private model: Model | undefined;
  private plan: Plan | undefined;
  private asked = 0;
  private busy = false;

  constructor(
    private readonly engine: Engine,
    private readonly reference: () => { text: string; settings: object } | undefined,
  ) {
    get("board").addEventListener("change", () => this.choose());
    get("storage").addEventListener("change", () => void this.show());
    get("budget").addEventListener("input", () => void this.show());
    get("see-write").addEventListener("click", () => void this.write());
    get("see-stop").addEventListener("click", () => engine.stop());
  }

  async start(): Promise<void> {
    this.boards = await this.engine.boards;
    get("board").replaceChildren(...this.boards.map((board) => make("option", { value: board.id }, board.name)));
    get<HTMLSelectElement>("board").value = FIRST;
  }

  /** Shows a model that was opened. */
  opened(model: Model) {
    this.model = model;
    void this.show();
  }

  /** The board, the place of the model and the budget that are chosen. */
  choice(): BoardChoice {
    const slider = get<HTMLInputElement>("budget");
    const share = Number(slider.value) / Number(slider.max);
    const board = this.board();
    const most = board.internal + board.external;
    // Even steps by ear: each percent is the same factor.
    const budget = share >= 1 ? null : Math.round((LEAST * (most / LEAST) ** share) / 1024) * 1024;
    return { board: board.id, flash: get<HTMLSelectElement>("storage").value === "flash", budget };
  }

  private board(): Board {
    const id = get<HTMLSelectElement>("board").value;
    return this.boards.find((board) => board.id === id)!;
  }

  private choose() {
    get<HTMLInputElement>("budget").value = "100";
    void this.show();
  }

  private async show(): Promise<void> {
    const { model } = this;
    if (!model || this.boards.length === 0) return;
    if (this.busy) this.engine.stop();
    const [choice, asked] = [this.choice(), ++this.asked];
    const board = this.board();
    get("budget-value").textContent = bytes(choice.budget ?? board.internal + board.external);
    get("budget").setAttribute("aria-valuetext", bytes(choice.budget ?? board.internal + board.external));
    try {
      const plan = await this.engine.plan(choice);
      if (asked !== this.asked) return;
      this.plan = plan;
      tell(get("see-message"), null);
      get("board-view").hidden = false;
      showMemory(plan, model);
      this.tape.show(plan, model);
      this.count(plan);
    } catch (error) {
      if (asked !== this.asked) return;
      this.plan = undefined;
      get("board-view").hidden = true;
      tell(get("see-message"), `${board.name}: ${(error as Error).message}.`, "error");
    }
  }

  private count(plan: Plan) {
    get("per-bytes").textContent = bytes(plan.bytes_per_token);
    get("per-bytes").title = `${group(plan.bytes_per_token)} bytes`;
    get("per-reads").textContent = group(plan.reads_per_token);
    get("per-seeks").textContent = group(plan.seeks_per_token);
    get("per-speed").textContent = range(plan.tokens_per_second, "").trim();
  }

  private async write(): Promise<void> {
    const { plan } = this;
    if (!plan || this.busy) return;
    const chosen = settings.read();
    const paced = (document.querySelector("input[name=pace]:checked") as HTMLInputElement).value === "board";
    const middle = (plan.token_seconds[0] + plan.token_seconds[1]) / 2;
    const [text, prompt] = [get("see-text"), get("see-prompt")];
    [prompt.textContent, text.textContent] = [chosen.prompt, ""];
    this.busy = true;
    get<HTMLButtonElement>("see-stop").disabled = false;
    tell(get("see-message"), null);
    let before: Progress | undefined;
    try {
      const result = await this.engine.write({ ...chosen, place: { kind: "board", ...this.choice() } }, paced ? middle : 0, (progress) => {
        text.append(progress.piece);
        this.tape.pass(paced ? middle : 0.3);
        this.advance(progress, before);
        before = progress;
      });
      text.append(result.rest);
      const same = this.compare(chosen, text.textContent ?? "");
      const speed = paced ? `${count(result.generated_tokens, "token")} at the modelled pace of the board` : figures(result);
      get("see-figures").textContent = `${speed}${same}`;
    } catch (error) {
      tell(get("see-message"), (error as Error).message, "error");
    }
    this.tape.rest();
    this.busy = false;
    get<HTMLButtonElement>("see-stop").disabled = true;
  }

  /** What was read so far, and for the last tokens. */
  private advance(progress: Progress, before: Progress | undefined) {
    const tokens = progress.tokens - (before?.tokens ?? 0);
    const rate = tokens > 0 && before ? ` · the last token ${bytes((progress.bytes - before.bytes) / tokens)}` : "";
    const read = `${bytes(progress.bytes)} read in ${count(progress.reads, "read")} and ${count(progress.seeks, "seek")}`;
    get("see-figures").textContent = `${count(progress.generated, "token")} · ${read}${rate}`;
  }

  /** Whether the text is the one above, as far as it goes. */
  private compare(chosen: object, text: string): string {
    const reference = this.reference();
    if (!reference || JSON.stringify(reference.settings) !== JSON.stringify(chosen)) return "";
    if (reference.text === text) return " · the same text as above, bit for bit";
    return reference.text.startsWith(text) ? ` · as far as it goes, the same text as above (${digits((100 * text.length) / reference.text.length)} %)` : "";
  }
}
