import { expect, test, type Page } from "@playwright/test";
import { json } from "./command";

/** The text that the page shows, once it is complete. */
async function text(page: Page): Promise<string> {
  await expect(page.locator("#figures")).toContainText("seed");
  return (await page.locator("#story-text").textContent()) ?? "";
}

async function write(page: Page, fields: Record<string, string>): Promise<string> {
  await text(page);
  await page.getByText("Sampling and limits").click();
  await page.getByLabel("A new seed each time").uncheck();
  for (const [id, value] of Object.entries(fields)) await page.locator(`#${id}`).fill(value);
  // The figures of the story before must not be taken for those of this text.
  await page.locator("#figures").evaluate((figures) => (figures.textContent = ""));
  await page.getByRole("button", { name: "Write", exact: true }).click();
  return text(page);
}

test("a story is there without a click", async ({ page }) => {
  await page.goto("./");
  expect((await text(page)).length).toBeGreaterThan(20);
  await expect(page.locator("#download")).toContainText(/[12]\.\d\d MB compressed/);
});

const PROMPTS = ["Once upon a time", "The old clock \u2014 caf\u00e9 \u{1f4a1} \u2014 stopped", "Anna found a key.\n\nThen"];
for (const [index, prompt] of PROMPTS.entries()) {
  for (const sampling of [{ temperature: "0" }, { temperature: "0.8", top_p: "0.9", top_k: "40", min_p: "0.02", repeat_penalty: "1.1" }]) {
    test(`prompt ${index + 1} at temperature ${sampling.temperature} is continued as by the command`, async ({ page }) => {
      await page.goto("./");
      const fields = { prompt, seed: "20261128", max_tokens: "120", ...sampling };
      const found = await write(page, fields);
      const options = Object.entries(fields).flatMap(([name, value]) => [`--${name.replace("_", "-")}`, value]);
      expect(found).toBe(json("run", ...options).text);
    });
  }
}

test("a stop string ends the text before it", async ({ page }) => {
  await page.goto("./");
  const found = await write(page, { prompt: "Once upon a time", temperature: "0", seed: "1", "stop-string": "." });
  expect(found).toBe(json("run", "--prompt", "Once upon a time", "--temperature", "0", "--stop", ".").text);
  await expect(page.locator("#figures")).toContainText("stop string found");
});

test("a link reproduces the text in another browser", async ({ page, browser }) => {
  await page.goto("./");
  const found = await write(page, { prompt: "A & B = \u00fc?", temperature: "1.1", seed: "18446744073709551615", max_tokens: "80" });
  await page.getByRole("button", { name: "Copy link to this text" }).click();
  await expect(page.locator("#link-message")).not.toBeEmpty();
  const other = await (await browser.newContext({ serviceWorkers: "block" })).newPage();
  await other.goto(page.url());
  await expect(other.locator("#figures")).toContainText("seed 18446744073709551615");
  expect(await text(other)).toBe(found);
  await expect(other.locator("#story-prompt")).toHaveText("A & B = \u00fc?");
});

test("a link to a text of another model names it", async ({ page }) => {
  await page.goto("./#model=0123456789abcdef&prompt=Hello&s=1");
  await expect(page.locator("#try-message")).toContainText("a text of the model 0123456789abcdef");
});

test("a setting out of range is told", async ({ page }) => {
  await page.goto("./");
  await text(page);
  await page.getByText("Sampling and limits").click();
  await page.locator("#temperature").fill("warm");
  await page.getByRole("button", { name: "Write", exact: true }).click();
  await expect(page.getByRole("alert").filter({ hasText: "temperature" })).toContainText("write it as 1 or 0.8");
});

test("a file that is no model is told, and the model stays", async ({ page }) => {
  await page.goto("./");
  const before = await text(page);
  await page.getByText("Another model").click();
  await page.locator("#model-file").setInputFiles({ name: "x.rillm", mimeType: "", buffer: Buffer.alloc(4096, 65) });
  await expect(page.locator("#try-message")).toHaveAttribute("data-kind", "error");
  await expect(page.locator("#try-message")).not.toBeEmpty();
  expect(await page.locator("#story-text").textContent()).toBe(before);
});
