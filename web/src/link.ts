// A link that reproduces a text: the model's hash, the prompt and the settings. The bits are the same everywhere, so the text is.

import type { Settings } from "./messages";

/** What a link says. */
export type Linked = Omit<Settings, "place"> & { model: string };

/** As many digits of the model's SHA-256 as a link has. */
const HASH_DIGITS = 16;
const NAMES = { temperature: "t", top_k: "k", top_p: "p", min_p: "m", repeat_penalty: "r", seed: "s", max_tokens: "n" } as const;

export const hash = (sha256: string) => sha256.slice(0, HASH_DIGITS);

/** The part of the address behind `#`. */
export function toFragment(settings: Omit<Settings, "place">, sha256: string): string {
  const parameters = new URLSearchParams({ model: hash(sha256), prompt: settings.prompt });
  for (const [field, name] of Object.entries(NAMES)) parameters.set(name, String(settings[field as keyof typeof NAMES]));
  settings.stop.forEach((stop) => parameters.append("stop", stop));
  return parameters.toString();
}

/** What the part of the address behind `#` says; `null` if it is no link to a text. */
export function fromFragment(fragment: string): Linked | null {
  const parameters = new URLSearchParams(fragment);
  const model = parameters.get("model");
  if (!model || !/^[0-9a-f]{16}$/.test(model)) return null;
  const text = (name: string, other: string) => parameters.get(name) ?? other;
  const whole = (name: string, other: number) => (/^\d{1,9}$/.test(parameters.get(name) ?? "") ? Number(parameters.get(name)) : other);
  return {
    model,
    prompt: text("prompt", ""),
    temperature: text(NAMES.temperature, "0.8"),
    top_k: whole(NAMES.top_k, 0),
    top_p: text(NAMES.top_p, "0.95"),
    min_p: text(NAMES.min_p, "0"),
    repeat_penalty: text(NAMES.repeat_penalty, "1"),
    seed: text(NAMES.seed, "0"),
    max_tokens: whole(NAMES.max_tokens, 256),
    stop: parameters.getAll("stop"),
  };
}
