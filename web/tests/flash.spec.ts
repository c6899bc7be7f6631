import { expect, test, type Page } from "@playwright/test";
import { createHash } from "node:crypto";
import { Device } from "./device";

/** A made-up image: the first byte is that of Espressif's images, the others hardly deflate. */
const IMAGE = Buffer.alloc(150_000);
for (let at = 0, state = 1; at < IMAGE.length; at++) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  IMAGE[at] = state >>> 24;
}
IMAGE[0] = 0xe9;

async function open(page: Page, sha256 = createHash("sha256").update(IMAGE).digest("hex")): Promise<void> {
  const image = { board: "esp32-c3", name: "ESP32-C3 with a card slot", chipFamily: "ESP32-C3", flash: 4 << 20, bytes: IMAGE.length, sha256, parts: [{ path: "c3.bin", offset: 0 }] };
  await page.route("**/images/manifest.json", (route) => route.fulfill({ json: { version: "0.1.0", images: [image] } }));
  await page.route("**/images/c3.bin", (route) => route.fulfill({ body: IMAGE, contentType: "application/octet-stream" }));
  await page.goto("./");
  await expect(page.locator("#flash-image")).toContainText("ESP32-C3, 4");
}

const flash = (page: Page) => page.getByRole("button", { name: "Connect and flash" }).click();

test("a simulated device gets the image, and its console computes the page's bits", async ({ page }) => {
  const device = new Device();
  await device.connect(page);
  await open(page);
  await flash(page);
  await expect(page.locator("#flash-message")).toContainText("MD5 of it is right");
  expect(device.flash.subarray(0, IMAGE.length).equals(IMAGE)).toBe(true);
  expect(device.log).toContain(`${IMAGE.length} bytes at 0`);
  await expect(page.locator("#console-log")).toContainText("Type the beginning of a text");
  expect(device.log.at(-1)).toBe("reset to firmware");
  await page.getByRole("button", { name: "Compare with this page" }).click();
  await expect(page.locator("#compared")).toContainText("computes the same bits");
  await expect(page.locator("#console-log")).toContainText("check: ");
  await page.getByLabel("A prompt or a command").fill("/stats");
  await page.getByRole("button", { name: "Send", exact: true }).last().click();
  await expect(page.locator("#console-log")).toContainText("stats");
  await page.getByRole("button", { name: "Close the port" }).click();
  await expect(page.locator("#console")).toBeHidden();
});

test("a flash that stores a bit wrongly is told", async ({ page }) => {
  const device = new Device();
  device.breaks = true;
  await device.connect(page);
  await open(page);
  await flash(page);
  await expect(page.locator("#flash-message")).toContainText("MD5");
  await expect(page.locator("#flash-message")).toHaveAttribute("data-kind", "error");
});

test("a board with another chip gets nothing", async ({ page }) => {
  const device = new Device(9);
  await device.connect(page);
  await open(page);
  await flash(page);
  await expect(page.locator("#flash-message")).toContainText("the board has the chip ESP32-S3");
  expect(device.flash.every((byte) => byte === 0xff)).toBe(true);
});

test("an image that was not received whole is not written", async ({ page }) => {
  const device = new Device();
  await device.connect(page);
  await open(page, "0".repeat(64));
  await flash(page);
  await expect(page.locator("#flash-message")).toContainText("was not received whole");
  expect(device.log).toEqual([]);
});

test("a browser without Web Serial is told what to do", async ({ page }) => {
  await page.addInitScript(() => delete (Navigator.prototype as { serial?: unknown }).serial);
  await open(page);
  await expect(page.locator("#flash-no-serial")).toContainText("Open this page in Chrome");
  await expect(page.locator("#flash-controls")).toBeHidden();
  await expect(page.getByRole("link", { name: "Download the image" })).toHaveAttribute("href", "images/c3.bin");
});
