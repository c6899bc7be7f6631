// The tape: the weights of a token in order, what stays in memory, what streams, and where the engine is.

import { draw, get } from "./dom";
import { bytes, count } from "./format";
import type { Model, Plan } from "./messages";

const WIDTH = 1000;
const HEIGHT = 46;
/** Width of the mark of what is used, at least. */
const HEAD = 7;

export class Tape {
  private readonly place = get("tape");
  private head: SVGElement | undefined;
  private frame = 0;
  private headWidth = HEAD;
  private readonly still = matchMedia("(prefers-reduced-motion: reduce)");

  /** Draws the tape of a plan. */
  show(plan: Plan, model: Model) {
    const x = (at: number) => (at / model.tape) * WIDTH;
    const streams = plan.streamed.reduce((sum, [start, end]) => sum + end - start, 0);
    const path = plan.streamed.map(([start, end]) => `M${x(start).toFixed(2)} 0H${x(end).toFixed(2)}V${HEIGHT}H${x(start).toFixed(2)}Z`).join("");
    const from = plan.source === "flash" ? "flash, where it is used in place" : "the card";
    const label = `The tape of ${bytes(model.tape)}: ${bytes(model.tape - streams)} ${plan.source === "flash" ? "are used in flash, nothing is read" : "stay in memory"}, ${bytes(streams)} stream from ${from} for each token.`;
    this.headWidth = Math.max(HEAD, x(plan.chunk));
    this.head = draw("rect", { x: 0, y: -5, width: this.headWidth, height: HEIGHT + 10, rx: 3, class: "fill-head", visibility: "hidden" });
    const drawing = draw(
      "svg",
      { viewBox: `0 -8 ${WIDTH} ${HEIGHT + 16}`, height: HEIGHT + 16, preserveAspectRatio: "none", role: "img", "aria-label": label, class: "bar", id: "tape-drawing" },
      draw("rect", { x: 0, y: 0, width: WIDTH, height: HEIGHT, class: "fill-resident" }),
      draw("path", { d: path, class: "fill-streamed" }),
      ...this.borders(model, x),
      this.head,
    );
    const names = document.createElement("div");
    names.className = "tape-names";
    for (const { name, share } of this.sections(model)) {
      const span = document.createElement("span");
      // Set by script, which the policy of the page allows; attributes of style it does not.
      span.style.flexGrow = String(share);
      span.textContent = name;
      names.append(span);
    }
    this.place.replaceChildren(drawing, names);
  }

  /** Moves once over the tape in `seconds`, for a token. */
  pass(seconds: number) {
    cancelAnimationFrame(this.frame);
    const { head } = this;
    if (!head || this.still.matches) return;
    head.setAttribute("visibility", "visible");
    const start = performance.now();
    const move = (now: number) => {
      const done = Math.min(1, (now - start) / (seconds * 1000));
      head.setAttribute("x", String(done * (WIDTH - this.headWidth)));
      if (done < 1) this.frame = requestAnimationFrame(move);
    };
    this.frame = requestAnimationFrame(move);
  }

  /** The engine rests. */
  rest() {
    cancelAnimationFrame(this.frame);
    this.head?.setAttribute("visibility", "hidden");
  }

  /** Lines between layers. */
  private borders(model: Model, x: (at: number) => number): SVGElement[] {
    let at = 0;
    return this.sections(model).slice(0, -1).map(({ share }) => {
      at += share;
      return draw("line", { x1: x(at), x2: x(at), y1: -4, y2: HEIGHT + 4, class: "tick" });
    });
  }

  /** The layers and the head with their bytes; many layers are one section. */
  private sections(model: Model): { name: string; share: number }[] {
    const sum = (tensors: Model["tensors"]) => tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    const isHead = (name: string) => name === "lm_head" || name === "norm";
    const layers = model.tensors.filter((tensor) => !isHead(tensor.name));
    const head = { name: "head", share: sum(model.tensors.filter((tensor) => isHead(tensor.name))) };
    if (model.layers > 8) return [{ name: count(model.layers, "layer"), share: sum(layers) }, head];
    const each = Array.from({ length: model.layers }, (_, layer) => ({
      name: `${layer + 1}`,
      share: sum(layers.filter((tensor) => tensor.layer === layer)),
    }));
    return [...each, head];
  }
}
