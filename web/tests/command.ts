// The `rillm` command, whose results the page's are compared with.

import { execFileSync, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export const RILLM = process.env.RILLM ?? fileURLToPath(new URL("../../target/release/rillm", import.meta.url));

/** Standard output of the command. */
export function rillm(...args: string[]): string {
  return execFileSync(RILLM, args, { encoding: "utf8", input: "", maxBuffer: 1 << 28 });
}

/** What the command prints on a terminal: its text, its figures, its check line. */
export function terminal(...args: string[]): string {
  const { stdout, stderr } = spawnSync(RILLM, args, { encoding: "utf8", input: "" });
  return `${stdout.trim()}\n${stderr.trim()}`;
}

export const json = (...args: string[]) => JSON.parse(rillm(...args, "--json"));

/** The bundled model. */
export const MODEL = fileURLToPath(new URL("../../models/rill-tales-1m", import.meta.url));

/** A small checkpoint with a chat template, a folder. */
export const SMALL = fileURLToPath(new URL("../../crates/rillm-convert/tests/odd/bases/llama", import.meta.url));
