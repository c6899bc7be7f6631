import { expect, test } from "@playwright/test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RILLM, SMALL, rillm } from "./command";

test("a chat is the command's, turn by turn, and is forgotten for a text", async ({ page }) => {
  const directory = mkdtempSync(join(tmpdir(), "rillm-web-"));
  const model = join(directory, "small.rillm");
  rillm("convert", SMALL, model);
  await page.goto("./");
  await expect(page.locator("#figures")).toContainText("seed");
  await page.getByText("Sampling and limits").click();
  await page.getByLabel("A new seed each time").uncheck();
  await page.locator("#max_tokens").fill("12");
  await page.locator("#seed").fill("7");
  await page.getByText("Another model").click();
  await page.locator("#model-file").setInputFiles(model);
  const turns = ["Hello.", "What is a rill?"];
  for (const [index, turn] of turns.entries()) {
    await page.getByLabel("Say").fill(turn);
    await page.getByRole("button", { name: "Send" }).click();
    await expect(page.locator("#chat-log .turn")).toHaveCount(2 * index + 2);
    await expect(page.locator("#chat-form button.main")).toBeEnabled();
  }
  const answers = await page.locator("#chat-log .turn:nth-child(even) span").allTextContents();
  const args = ["chat", "--model", model, "--seed", "7", "--max-tokens", "12", "--json"];
  const lines = execFileSync(RILLM, args, { encoding: "utf8", input: `${turns.join("\n")}\n` }).trim().split("\n");
  expect(answers).toEqual(lines.map((line) => JSON.parse(line).text));
  rmSync(directory, { recursive: true });
  // A text on a board ends the chat, and does not wait for it.
  await page.getByLabel("As fast as this computer").check();
  await page.getByRole("button", { name: "Write in this memory" }).click();
  await expect(page.locator("#see-figures")).toContainText("token");
});
