import { expect, test, type Page } from "@playwright/test";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rillm, SMALL } from "./command";
import { Device } from "./device";
import { offer, WITH_MODEL } from "./images";

/** A made-up image: the first byte is that of Espressif's images, the others hardly deflate. */
const IMAGE = Buffer.alloc(150_000);
for (let at = 0, state = 1; at < IMAGE.length; at++) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  IMAGE[at] = state >>> 24;
}
IMAGE[0] = 0xe9;

async function open(page: Page, offered: Parameters<typeof offer>[1] = {}): Promise<void> {
  await offer(page, { bytes: IMAGE, ...offered });
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

test("another model is flashed in place of the bundled one: the bytes are the command's", async ({ page }) => {
  const directory = mkdtempSync(join(tmpdir(), "rillm-flash-"));
  const [model, made] = [join(directory, "llama.rillm"), join(directory, "board.bin")];
  rillm("convert", SMALL, model);
  rillm("flash-image", model, "--image", WITH_MODEL, "-o", made);
  const device = new Device();
  device.model = model;
  await device.connect(page);
  const image = readFileSync(WITH_MODEL);
  await open(page, { bytes: image });
  await expect(page.getByLabel("Model to flash").locator("option")).toHaveText(["the bundled one"]);
  await page.getByLabel("or a model file").setInputFiles(model);
  await expect(page.getByLabel("Model to flash")).toHaveValue("open");
  await expect(page.locator("#flash-fit")).toContainText("a context of");
  await expect(page.locator("#flash-map rect")).toHaveCount(3);
  const expected = readFileSync(made);
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download the image with this model" }).click();
  expect(readFileSync(await (await downloading).path()).equals(expected)).toBe(true);
  await flash(page);
  await expect(page.locator("#flash-message")).toContainText("MD5 of it is right");
  expect(device.flash.subarray(0, expected.length).equals(expected)).toBe(true);
  expect(device.log).toContain(`${expected.length} bytes at 0`);
  await page.getByRole("button", { name: "Compare with this page" }).click();
  await expect(page.locator("#compared")).toContainText("computes the same bits");
  // Back to the image as it is.
  await page.getByLabel("Model to flash").selectOption("image");
  await flash(page);
  await expect.poll(() => device.flash.subarray(0, image.length).equals(image)).toBe(true);
});

test("a converted model goes to the part that flashes", async ({ page }) => {
  await open(page);
  await page.locator("#checkpoint-folder").setInputFiles(SMALL);
  await page.getByRole("button", { name: "Flash it onto a board" }).click();
  await expect(page.getByLabel("Model to flash")).toHaveValue("open");
  await expect(page.locator("#flash-title")).toBeInViewport();
});

test("a model that the flash has no room for is not offered to write", async ({ page }) => {
  const model = join(mkdtempSync(join(tmpdir(), "rillm-flash-")), "llama.rillm");
  rillm("convert", SMALL, model);
  await open(page, { longest: 1024 });
  await page.getByLabel("or a model file").setInputFiles(model);
  await expect(page.locator("#flash-fit")).toContainText("has room for 1,024: put it on a card");
  const write = page.getByRole("button", { name: "Connect and flash" });
  await expect(write).toBeDisabled();
  await expect(page.getByRole("button", { name: "Download the image with this model" })).toBeDisabled();
  await page.getByLabel("Model to flash").selectOption("image");
  await expect(write).toBeEnabled();
  await page.getByLabel("or a model file").setInputFiles({ name: "x.rillm", mimeType: "", buffer: Buffer.from("no model") });
  await expect(page.locator("#flash-message")).toHaveAttribute("data-kind", "error");
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
  await open(page, { sha256: "0".repeat(64) });
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
