// The settings of a text, in the form of the page.

import { get } from "./dom";
import type { Linked } from "./link";
import type { Settings } from "./messages";

const TEXTS = ["temperature", "top_p", "min_p", "repeat_penalty", "seed"] as const;
const NUMBERS = ["top_k", "max_tokens"] as const;

const field = (id: string) => get<HTMLInputElement>(id);

/** What the form says, without the place. */
export function read(): Omit<Settings, "place"> {
  const stop = field("stop-string").value;
  const texts = Object.fromEntries(TEXTS.map((id) => [id, field(id).value.trim()])) as Record<(typeof TEXTS)[number], string>;
  const numbers = Object.fromEntries(NUMBERS.map((id) => [id, Math.max(0, Math.floor(Number(field(id).value)) || 0)])) as Record<(typeof NUMBERS)[number], number>;
  return { prompt: get<HTMLTextAreaElement>("prompt").value, ...texts, ...numbers, stop: stop ? [stop] : [] };
}

/** Shows the settings of a link. */
export function show(linked: Linked) {
  get<HTMLTextAreaElement>("prompt").value = linked.prompt;
  TEXTS.forEach((id) => (field(id).value = linked[id]));
  NUMBERS.forEach((id) => (field(id).value = String(linked[id])));
  field("stop-string").value = linked.stop[0] ?? "";
  field("new-seed").checked = false;
}

/** Chooses another seed, if the user wants a new one each time. */
export function renewSeed() {
  if (field("new-seed").checked) field("seed").value = String(crypto.getRandomValues(new Uint32Array(1))[0]! % 1_000_000);
}
