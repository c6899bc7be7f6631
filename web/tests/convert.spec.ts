import { expect, test, type Page } from "@playwright/test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gguf, llama2c } from "./checkpoints";
import { MODEL, SMALL, rillm } from "./command";

let directory: string;
test.beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "rillm-web-"));
});
test.afterEach(() => rmSync(directory, { recursive: true }));

/** Chooses files or a folder, and returns the bytes of the download. */
async function convert(page: Page, choose: () => Promise<void>): Promise<Buffer> {
  await page.goto("./");
  await choose();
  await expect(page.locator("#converted")).toBeVisible();
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download the model file" }).click();
  return readFileSync(await (await downloading).path());
}

/** The command's file. */
function expected(source: string, ...args: string[]): Buffer {
  const out = join(directory, "expected.rillm");
  rillm("convert", source, out, ...args);
  return readFileSync(out);
}

const folder = (page: Page, path: string) => page.locator("#checkpoint-folder").setInputFiles(path);

test("a folder with safetensors becomes the command's bytes, with 8 bits", async ({ page }) => {
  const found = await convert(page, () => folder(page, MODEL));
  expect(found.equals(expected(MODEL))).toBe(true);
  await expect(page.locator("#converted-line")).toContainText("rill-tales-1m.rillm");
  // Seven boards, and what the file takes on each.
  await expect(page.locator("#converted-boards tbody tr")).toHaveCount(7);
  await expect(page.locator("#converted-boards")).toContainText("tokens/s");
});

test("a folder becomes the command's bytes with 4 bits, with progress, and runs in the page", async ({ page }) => {
  const steps = new Set<string>();
  await page.exposeFunction("heard", (step: string) => steps.add(step.replace(/, \d+ %$/, "")));
  const found = await convert(page, async () => {
    await page.evaluate(() => {
      const step = document.getElementById("convert-step")!;
      new MutationObserver(() => (globalThis as unknown as { heard(step: string): void }).heard(step.textContent!)).observe(step, { childList: true, characterData: true, subtree: true });
    });
    await page.getByLabel("4 bits").check();
    await folder(page, SMALL);
  });
  expect(found.equals(expected(SMALL, "--bits", "4"))).toBe(true);
  for (const step of ["Reading the files", "Quantising", "Writing the file"]) expect(steps).toContain(step);
  await page.getByRole("button", { name: "Try it here" }).click();
  await expect(page.locator("#model-line")).toContainText("llama: ");
});

test("a GGUF file becomes the command's bytes", async ({ page }) => {
  const file = join(directory, "small.gguf");
  writeFileSync(file, gguf());
  const found = await convert(page, () => page.locator("#checkpoint-files").setInputFiles(file));
  expect(found.equals(expected(file))).toBe(true);
});

test("a card image is the command's, to the byte", async ({ page }) => {
  await convert(page, () => folder(page, SMALL));
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download a card image" }).click();
  const found = readFileSync(await (await downloading).path());
  const [model, image] = [join(directory, "llama.rillm"), join(directory, "card.img")];
  rillm("convert", SMALL, model);
  rillm("card", model, "-o", image);
  expect(found.equals(readFileSync(image))).toBe(true);
});

test("a llama2.c checkpoint with its tokenizer becomes the command's bytes", async ({ page }) => {
  const { model, tokenizer } = llama2c();
  const [file, beside] = [join(directory, "stories.bin"), join(directory, "tokenizer.bin")];
  writeFileSync(file, model);
  writeFileSync(beside, tokenizer);
  const found = await convert(page, () => page.locator("#checkpoint-files").setInputFiles([beside, file]));
  expect(found.equals(expected(file))).toBe(true);
});

const BAD: [string, Record<string, Buffer>, RegExp][] = [
  ["a cut GGUF file", { "cut.gguf": gguf().subarray(0, 5000) }, /cut\.gguf.*ends|cut off|cut/],
  ["a GGUF file without its last weights", { "short.gguf": gguf().subarray(0, -100) }, /download it again/],
  ["a file of no kind", { "notes.txt": Buffer.from("hello") }, /notes\.txt/],
  ["a llama2.c checkpoint alone", { "stories.bin": llama2c().model }, /tokenizer is missing/],
  ["weights alone", { "model.safetensors": Buffer.alloc(100) }, /model\.safetensors/],
  ["a model file", { "x.rillm": Buffer.from("RILLM") }, /a model file already/],
];
test("bad files give words", async ({ page }) => {
  await page.goto("./");
  for (const [what, files, words] of BAD) {
    await page.locator("#checkpoint-files").setInputFiles(Object.entries(files).map(([name, buffer]) => ({ name, mimeType: "", buffer })));
    await expect(page.locator("#convert-message"), what).toContainText(words);
    await expect(page.locator("#convert-message"), what).toHaveAttribute("data-kind", "error");
    await expect(page.locator("#convert-message"), what).not.toContainText(/panicked|RuntimeError|\/in\//);
    await expect(page.locator("#converted")).toBeHidden();
  }
});
