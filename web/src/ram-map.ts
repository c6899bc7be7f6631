// The memory of a plan, drawn to scale.

import { draw, get, make } from "./dom";
import { bytes, group } from "./format";
import type { Model, Plan } from "./messages";

/** The kind of a buffer, which has a colour: what the plan's names mean to a reader. */
const KINDS: Record<string, { kind: string; words: string }> = {
  "resident weights": { kind: "resident", words: "weights that stay in memory" },
  "kv cache": { kind: "cache", words: "keys and values of earlier tokens" },
  buffers: { kind: "chunks", words: "two buffers: one is filled while the other is used" },
};
const OTHERS = { kind: "work", words: "vectors, tokens, candidates" };
const WIDTH = 1000;

export const kindOf = (name: string) => KINDS[name] ?? OTHERS;

export interface Part {
  name: string;
  bytes: number;
  kind: string;
}

/** A bar of parts, `whole` bytes wide. */
export function bar(parts: Part[], whole: number, height: number, label: string): SVGElement {
  let at = 0;
  const rectangles = parts.flatMap((part) => {
    const [x, width] = [(at / whole) * WIDTH, (part.bytes / whole) * WIDTH];
    at += part.bytes;
    const rectangle = draw("rect", { x, y: 0, width, height, class: `fill-${part.kind} edge` }, draw("title", {}, `${part.name}: ${group(part.bytes)} bytes`));
    rectangle.dataset.bytes = String(part.bytes);
    rectangle.dataset.name = part.name;
    return [rectangle];
  });
  return draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label, height, class: "bar" }, ...rectangles);
}

/** Both memories and the model on one scale: why the weights stream. */
function comparison(plan: Plan, model: Model): Node[] {
  const ram = plan.given + plan.external_given;
  const whole = Math.max(ram, model.bytes);
  const row = (name: string, parts: Part[]) => {
    const sum = parts.reduce((sum, part) => sum + part.bytes, 0);
    return make("div", { class: "row" }, make("p", { class: "row-name" }, `${name}, ${bytes(sum)}`), bar(parts, whole, 14, `${name}: ${bytes(sum)}, of ${bytes(whole)} on this scale`));
  };
  return [
    row("The model\u2019s file", [{ name: "model file", bytes: model.bytes, kind: "model" }]),
    row("The memory for the engine", [
      { name: "SRAM", bytes: plan.given, kind: "ram" },
      ...(plan.external_given > 0 ? [{ name: plan.external_name, bytes: plan.external_given, kind: "external-ram" }] : []),
    ]),
  ];
}

function memory(plan: Plan, place: string, given: number, used: number): HTMLElement {
  const parts: Part[] = plan.memory.filter((row) => row.place === place && row.bytes > 0).map((row) => ({ ...row, kind: kindOf(row.name).kind }));
  const free = Math.max(0, given - parts.reduce((sum, part) => sum + part.bytes, 0));
  const all = free > 0 ? [...parts, { name: "free", bytes: free, kind: "free" }] : parts;
  const words = all.map((part) => `${part.name} ${bytes(part.bytes)}`).join(", ");
  const drawing = bar(all, given, 46, `${place}, ${bytes(given)}: ${words}`);
  drawing.id = place === "SRAM" ? "map-internal" : "map-external";
  return make("div", { class: "row" }, make("p", { class: "row-name" }, `${place}, ${bytes(given)}, of which ${bytes(used)} are used`), drawing);
}

/** Draws the plan. */
export function showMemory(plan: Plan, model: Model) {
  get("scale").replaceChildren(...comparison(plan, model));
  const kinds = [...new Set(plan.memory.filter((row) => row.bytes > 0).map((row) => kindOf(row.name)))];
  const legend = make("ul", { class: "legend", "aria-label": "Colours of the memory" });
  for (const { kind, words } of [...kinds, { kind: "free", words: "free" }]) legend.append(make("li", {}, make("i", { class: `swatch ${kind}` }), words));
  const memories = [memory(plan, "SRAM", plan.given, plan.ram_used)];
  if (plan.external_given > 0) memories.push(memory(plan, plan.external_name, plan.external_given, plan.external_used));
  get("ram").replaceChildren(...memories, legend);

  const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Memory"), make("th", { scope: "col" }, "Place"), make("th", { scope: "col", class: "number" }, "Bytes")));
  const body = make("tbody");
  for (const row of plan.memory) {
    body.append(make("tr", {}, make("td", {}, row.name), make("td", {}, row.place), make("td", { class: "number" }, group(row.bytes))));
  }
  get("ram-table").replaceChildren(head, body);
}
