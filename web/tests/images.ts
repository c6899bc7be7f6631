// What `cargo xtask esp image` makes, in small: a manifest with one image.

import type { Page } from "@playwright/test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MODEL } from "./command";

export const sha256Of = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** An image with a model of 4,608 bytes, as crates/rillm-flash-image makes it for its tests. */
export const WITH_MODEL = fileURLToPath(new URL("../../crates/rillm-flash-image/tests/esp32-c3.bin", import.meta.url));

interface Offered {
  bytes?: Buffer;
  sha256?: string;
  /** The longest model that can take the place of the one in the image, and that one's checksum: without it the bundled model's. */
  longest?: number;
  model?: string;
}

/** The page gets the manifest and the image. */
export async function offer(page: Page, { bytes = readFileSync(WITH_MODEL), sha256 = sha256Of(bytes), longest = 3 << 20, model }: Offered = {}): Promise<void> {
  const held = { bytes: 4608, longest, sha256: model ?? sha256Of(readFileSync(join(MODEL, "model.rillm"))) };
  const image = { board: "esp32-c3", name: "ESP32-C3 with a card slot", chipFamily: "ESP32-C3", flash: 4 << 20, bytes: bytes.length, sha256, model: held, parts: [{ path: "c3.bin", offset: 0 }] };
  await page.route("**/images/manifest.json", (route) => route.fulfill({ json: { version: "0.1.0", images: [image] } }));
  await page.route("**/images/c3.bin", (route) => route.fulfill({ body: bytes, contentType: "application/octet-stream" }));
}
