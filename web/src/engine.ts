// The engine as the page sees it: promises in front of the Worker.

import { START, type Board, type BoardChoice, type Model, type Plan, type Progress, type Reply, type Result, type Settings } from "./messages";

/** A reply that ends a request, by its type. */
type Final<T extends Reply["type"]> = Extract<Reply, { type: T }>;

interface Pending {
  resolve: (reply: never) => void;
  reject: (error: Error) => void;
  /** Hears every reply, and tells whether more are to come. */
  hear: (reply: Reply) => boolean;
}

/** A chat that is open. */
export interface Chat {
  say(text: string): void;
  end(): void;
}

export class Engine {
  readonly boards: Promise<Board[]>;
  private readonly worker = new Worker(new URL("./engine.worker.ts", import.meta.url), { type: "module" });
  private readonly pending = new Map<number, Pending>();
  private next = START;
  private current: Chat | undefined;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.hear(data);
    this.worker.onerror = (event) => {
      const message = event.message || "the engine has stopped; load the page again";
      for (const id of [...this.pending.keys()]) this.hear({ id, type: "failed", message });
    };
    this.boards = this.expect<"ready">()[1].then((reply) => reply.boards);
  }

  /** Opens a model file. */
  async open(bytes: ArrayBuffer): Promise<Model> {
    this.current?.end();
    const [id, reply] = this.expect<"opened">();
    this.worker.postMessage({ type: "open", id, bytes }, [bytes]);
    return (await reply).model;
  }

  /** The model's plan on a board. */
  async plan(choice: BoardChoice): Promise<Plan> {
    const [id, reply] = this.expect<"planned">();
    this.worker.postMessage({ type: "plan", id, choice });
    return (await reply).plan;
  }

  /** The image of a board's flash, with the open model in place of the image's. */
  async inImage(image: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const [id, reply] = this.expect<"flashed">();
    this.worker.postMessage({ type: "flash", id, image }, [image.buffer]);
    return (await reply).image;
  }

  /** Writes a text, and ends a chat before it. `pace` is the seconds of a token, 0 for as fast as it goes. */
  async write(settings: Settings, pace: number, hear: (progress: Progress) => void): Promise<Result> {
    this.current?.end();
    const [id, reply] = this.expect<"done">((message) => {
      if (message.type === "progress") hear(message.progress);
      return message.type === "started" || message.type === "progress";
    });
    this.worker.postMessage({ type: "write", id, settings, pace });
    return (await reply).result!;
  }

  /** Opens a chat. `ended` hears how it ends: an error's words, or `undefined`. */
  chat(settings: Settings, hear: (progress: Progress) => void, answered: (result: Result) => void, ended: (message?: string) => void): Chat {
    this.current?.end();
    const [id, reply] = this.expect<"done">((message) => {
      if (message.type === "progress") hear(message.progress);
      if (message.type === "done" && message.result) answered(message.result);
      return message.type === "started" || message.type === "progress" || (message.type === "done" && message.result !== null);
    });
    this.worker.postMessage({ type: "chat", id, settings });
    const chat = {
      say: (text: string) => this.worker.postMessage({ type: "say", id, text }),
      end: () => {
        if (this.current !== chat) return;
        this.current = undefined;
        this.stop();
        this.worker.postMessage({ type: "say", id, text: null });
      },
    };
    this.current = chat;
    reply.then(
      () => ended(),
      (error: Error) => {
        if (this.current === chat) this.current = undefined;
        ended(error.message);
      },
    );
    return chat;
  }

  /** Ends what is being written. */
  stop() {
    this.worker.postMessage({ type: "stop" });
  }

  private expect<T extends Reply["type"]>(hear: (reply: Reply) => boolean = () => false): [number, Promise<Final<T>>] {
    const id = this.next++;
    return [id, new Promise((resolve, reject) => this.pending.set(id, { resolve, reject, hear }))];
  }

  private hear(reply: Reply) {
    const request = this.pending.get(reply.id);
    if (!request || request.hear(reply)) return;
    this.pending.delete(reply.id);
    if (reply.type === "failed") request.reject(new Error(reply.message));
    else request.resolve(reply as never);
  }
}
