// The elements of the page.

/** The element with an id, which the page has. */
export function get<T extends Element = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as unknown as T;
}

/** A new element with attributes and children. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, string> = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A new element of a drawing. */
export function draw(tag: string, attributes: Record<string, string | number> = {}, ...children: (Node | string)[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Shows a message in a place for messages, or hides the place. */
export function tell(place: HTMLElement, message: string | null, kind: "note" | "error" = "note") {
  place.textContent = message ?? "";
  place.hidden = message === null;
  place.dataset.kind = kind;
}

/** Offers a file for download. */
export function save(blob: Blob, name: string) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  // The download has begun when the next minute is over.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
