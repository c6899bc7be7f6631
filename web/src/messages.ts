// What the page and the engine's Worker say to each other.

/** The settings of a text, as `Settings` of crates/rillm-web reads them. */
export interface Settings {
  prompt: string;
  temperature: string;
  top_k: number;
  top_p: string;
  min_p: string;
  repeat_penalty: string;
  seed: string;
  max_tokens: number;
  stop: string[];
  place: Place;
}

export type Place = { kind: "computer"; ram: number } | ({ kind: "board" } & BoardChoice);

export interface BoardChoice {
  board: string;
  flash: boolean;
  budget: number | null;
}

export interface Board {
  id: string;
  name: string;
  chip: string;
  mhz: number;
  cores: number;
  internal: number;
  external: number;
  external_name: string;
  flash: number;
  flash_model: number;
  card: string;
}

export interface Tensor {
  name: string;
  layer: number;
  bytes: number;
}

export interface Model {
  name: string;
  bytes: number;
  parameters: number;
  layers: number;
  vocabulary: number;
  context: number;
  chat: boolean;
  tape: number;
  tensors: Tensor[];
  /** SHA-256 of the file, in hexadecimal. */
  sha256: string;
}

export interface Plan {
  board: string;
  source: "card" | "flash";
  given: number;
  external_given: number;
  external_name: string;
  context: number;
  batch: number;
  chunk: number;
  resident: number;
  ram_used: number;
  external_used: number;
  memory: { name: string; bytes: number; place: string }[];
  bytes_per_token: number;
  reads_per_token: number;
  seeks_per_token: number;
  resident_bytes_per_token: number;
  tokens_per_second: [number, number];
  token_seconds: [number, number];
  prompt_tokens: number;
  seconds_to_first_token: [number, number];
  streamed: [number, number][];
}

/** The end of a text. */
export interface Result {
  rest: string;
  stop: "end_of_text" | "stop_string" | "max_tokens" | "context_full" | "interrupted";
  prompt_tokens: number;
  generated_tokens: number;
  forgotten_turns: number;
  check: string | null;
  /** Tokens a second after the first one, waits for a board's pace included. */
  rate: number;
  secondsToFirst: number;
}

/** What was generated since the last message. */
export interface Progress {
  piece: string;
  /** Tokens so far, prompt included, and those of the answer. */
  tokens: number;
  generated: number;
  reads: number;
  bytes: number;
  seeks: number;
  rate: number;
}

/** `id` names the request in the replies to it. */
export type Request =
  | { type: "open"; id: number; bytes: ArrayBuffer }
  | { type: "plan"; id: number; choice: BoardChoice }
  | { type: "flash"; id: number; image: Uint8Array<ArrayBuffer> }
  | { type: "write"; id: number; settings: Settings; pace: number }
  | { type: "chat"; id: number; settings: Settings }
  /** What is said in the chat `id`; `null` ends it. */
  | { type: "say"; id: number; text: string | null }
  | { type: "stop" };

export type Reply = { id: number } & (
  | { type: "ready"; boards: Board[] }
  | { type: "failed"; message: string }
  | { type: "opened"; model: Model }
  | { type: "planned"; plan: Plan }
  | { type: "flashed"; image: Uint8Array<ArrayBuffer> }
  | { type: "started"; prompt_tokens: number; context: number }
  | { type: "progress"; progress: Progress }
  | { type: "done"; result: Result | null }
);

/** The request that the engine starts. */
export const START = 0;
